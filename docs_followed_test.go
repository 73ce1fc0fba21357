package layout

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A block of commands that is not run says why after its ```sh.
var notRun = []string{
	"network", // it needs more of it than Go's modules, or what such a block has made
	"yours",   // it stands for a user's own model and data
	"minutes", // that it takes
}

// followed are the pages whose commands are run, in their order, as a new user would
// who has Go and a clone.
var followed = []string{"README.md", "docs/quickstart.md"}

// shorter has commands train for a moment only, and find the server where it is.
func shorter(block, address, dir string) string {
	quickstart := regexp.MustCompile(`peft-train quickstart`)
	block = quickstart.ReplaceAllString(block, "$0 --max-steps 2 --server http://"+address)
	block = regexp.MustCompile(`--max-steps 1\d\d`).ReplaceAllString(block, "--max-steps 2")
	block = strings.ReplaceAll(block, "127.0.0.1:8080", address)
	return strings.ReplaceAll(block, "/tmp/", dir+"/")
}

// The commands of the pages that a new user follows are run as they stand there, in
// a copy of what the repository holds.
func TestPagesAreFollowed(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the commands")
	}
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("needs curl, as whoever follows the pages does")
	}
	copied := copyTree(t)
	for _, page := range followed {
		t.Run(page, func(t *testing.T) {
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			reader := newReader(t, copied)
			ran := 0
			for _, block := range shellBlock.FindAllStringSubmatch(string(text), -1) {
				mark, commands := block[1], block[2]
				switch {
				case mark == "":
					reader.follow(shorter(commands, reader.address, reader.dir))
					ran++
				case slices.Contains(notRun, mark):
					t.Logf("not run, since marked %s:\n%s", mark, commands)
				default:
					t.Errorf("a block is marked %q, which is none of %q", mark, notRun)
				}
			}
			if ran < 2 {
				t.Errorf("only %d blocks were run", ran)
			}
		})
	}
}

// copyTree copies what git knows, and what it would take.
func copyTree(t *testing.T) string {
	t.Helper()
	list, err := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Skipf("git does not tell what belongs to the repository: %v", err)
	}
	to := t.TempDir()
	for _, name := range strings.Split(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		place := filepath.Join(to, name)
		stat, err := os.Lstat(name)
		if err != nil || !stat.Mode().IsRegular() { // removed, and not committed
			continue
		}
		text, err := os.ReadFile(name)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(place), 0o755)
		}
		if err == nil {
			err = os.WriteFile(place, text, stat.Mode().Perm())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// reader is who follows a page: with a shell, whose variables stay, and another one
// for a server.
type reader struct {
	t       *testing.T
	tree    string
	dir     string // in the place of /tmp
	address string // of the server, once one serves
	env     []string
}

func newReader(t *testing.T, tree string) *reader {
	t.Helper()
	r := &reader{t: t, tree: tree, dir: t.TempDir()}
	// curl fails where the server refuses.
	if err := os.WriteFile(filepath.Join(r.dir, ".curlrc"), []byte("fail-with-body\nshow-error\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.env = slices.Concat(os.Environ(), builds, []string{"CURL_HOME=" + r.dir, "PEFT_SERVE_ADDR=127.0.0.1:0", "PEFT_SERVE_LOG_FORMAT=json"})
	return r
}

// serves tells a block whose last command goes on until it is stopped.
var serves = regexp.MustCompile(`(?m)^(bin/|go run \./cmd/)peft-serve( +-.*| *#.*|)\n\z`)

func (r *reader) follow(block string) {
	r.t.Helper()
	if serves.MatchString(block) {
		r.serve(block)
		return
	}
	variables := filepath.Join(r.dir, "variables")
	script := fmt.Sprintf("set -ae\nif [ -f %[1]s ]; then . %[1]s; fi\n%[2]s\nexport -p > %[1]s\n", variables, block)
	command := exec.CommandContext(r.t.Context(), "sh", "-c", script)
	command.Dir, command.Env = r.tree, r.env
	began := time.Now()
	out, err := command.CombinedOutput()
	r.t.Logf("%s:\n%s\n%s", time.Since(began).Round(100*time.Millisecond), block, out)
	if err != nil {
		r.t.Fatalf("%v in:\n%s", err, block)
	}
}

// serve starts the server of a block, and waits until it is ready.
func (r *reader) serve(block string) {
	r.t.Helper()
	ctx, stop := context.WithCancel(r.t.Context())
	command := exec.CommandContext(ctx, "sh", "-c", "set -e\n"+block)
	command.Dir, command.Env = r.tree, r.env
	log, err := command.StderrPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // go run passes no signal on
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGINT) }
	if err := command.Start(); err != nil {
		r.t.Fatal(err)
	}
	serving := make(chan string, 1) // its address
	ended := make(chan struct{})
	var said strings.Builder
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(log); lines.Scan(); {
			said.WriteString(lines.Text() + "\n")
			var record struct{ Msg, Address string }
			if json.Unmarshal(lines.Bytes(), &record) == nil && record.Msg == "serving" {
				serving <- strings.TrimPrefix(record.Address, "http://")
			}
		}
		_ = command.Wait()
	}()
	r.t.Cleanup(func() {
		stop()
		<-ended
		r.t.Logf("the server:\n%s", said.String())
	})
	select {
	case r.address = <-serving:
	case <-ended:
		r.t.Fatalf("the server has ended:\n%s\n%s", block, said.String())
	}
}
