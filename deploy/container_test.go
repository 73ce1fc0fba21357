package deploy

import (
	"bufio"
	"context"
	"crypto/x509"
	"debug/elf"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// lastStage is what the image is made of.
type lastStage struct {
	base       string
	files      map[string]string // from the stage before, by place in the image
	user       [2]int
	entrypoint string
}

func readStage(t *testing.T) lastStage {
	s := lastStage{files: map[string]string{}}
	for line := range strings.Lines(read(t, "../Containerfile")) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
		case fields[0] == "FROM":
			s = lastStage{base: fields[len(fields)-1], files: map[string]string{}}
		case fields[0] == "COPY" && fields[1] == "--from=build":
			s.files[fields[3]] = fields[2]
		case fields[0] == "USER":
			user, group, _ := strings.Cut(fields[1], ":")
			for i, id := range []string{user, group} {
				n, err := strconv.Atoi(id)
				require.NoError(t, err, "USER is to be numbers, which runAsNonRoot can see")
				s.user[i] = n
			}
		case fields[0] == "ENTRYPOINT":
			s.entrypoint = strings.Trim(fields[1], `[]"`)
		}
	}
	return s
}

// TestContainer serves from a root that holds the files of the last stage and
// nothing else, as the image's user, who may write nowhere there.
func TestContainer(t *testing.T) {
	stage := readStage(t)
	require.Equal(t, "scratch", stage.base)
	require.Greater(t, stage.user[0], 0)
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: changing the root and the user takes root")
	}
	root, built := t.TempDir(), t.TempDir()
	build := exec.Command("go", "build", "-C", "..", "-trimpath", "-ldflags", "-s -w -X main.version=container", "-o", built+"/", "./cmd/...")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)
	size := int64(0)
	for place, from := range stage.files {
		if name, ok := strings.CutPrefix(from, "/out/"); ok {
			from = filepath.Join(built, name)
			static(t, from)
		} else if _, err := os.Stat(from); err != nil {
			t.Skipf("NOT RUN: this machine has no %s", from)
		} else {
			require.True(t, x509.NewCertPool().AppendCertsFromPEM([]byte(read(t, from))), from)
		}
		size += lay(t, from, filepath.Join(root, place))
	}
	t.Logf("the image holds %.1f MB in %d files", float64(size)/1e6, len(stage.files))

	// What Kubernetes mounts: a base, read-only.
	for name, from := range map[string]string{
		"config.json": "../testdata/goldens/llama", "model.safetensors": "../testdata/goldens/llama",
		"tokenizer.json": "../serve/testdata", "tokenizer_config.json": "../serve/testdata",
	} {
		lay(t, filepath.Join(from, name), filepath.Join(root, "base/tiny", name))
	}
	for dir := root; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		require.NoError(t, os.Chmod(dir, 0o755))
	}

	inside := func(name string, args ...string) *exec.Cmd {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		t.Cleanup(cancel)
		c := exec.CommandContext(ctx, name, args...)
		c.Path, c.Err = name, nil // in the new root
		c.Dir, c.Env = "/", []string{"GOMAXPROCS=1"}
		c.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: uint32(stage.user[0]), Gid: uint32(stage.user[1])}}
		return c
	}
	text, err := inside("/peft-train", "--version").CombinedOutput()
	if err != nil && strings.Contains(err.Error(), "operation not permitted") {
		t.Skip("NOT RUN: this machine does not let its root change the root: " + err.Error())
	}
	require.NoError(t, err, "%s", text)
	require.Equal(t, "peft-train container\n", string(text))

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	server := inside(stage.entrypoint, "--base=/base/tiny", "--addr="+address, "--kv-cache=1MiB", "--adapter-budget=64MiB", "--memory-limit=512MiB", "--log-format=json")
	log, err := server.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, server.Start())
	var lines strings.Builder
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		_, _ = io.Copy(&lines, bufio.NewReader(log))
	}()
	up := func() bool {
		response, err := http.Get("http://" + address + "/ready")
		return err == nil && response.Body.Close() == nil && response.StatusCode == http.StatusOK
	}
	if !waitFor(up) {
		_ = server.Process.Kill()
		<-logged
		t.Fatalf("the server has not come up:\n%s", &lines)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", server.Process.Pid))
	require.NoError(t, err)
	require.Contains(t, string(status), fmt.Sprintf("Uid:\t%d\t", stage.user[0]))
	response, err := http.Post("http://"+address+"/v1/completions", "application/json", strings.NewReader(`{"prompt": "a b", "max_tokens": 2}`))
	require.NoError(t, err)
	answer, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode, "%s", answer)
	require.NoError(t, server.Process.Signal(syscall.SIGTERM))
	<-logged
	require.NoError(t, server.Wait(), "%s", &lines)
}

func waitFor(done func() bool) bool {
	for range 1200 {
		if done() {
			return true
		}
		time.Sleep(25 * time.Millisecond)
	}
	return false
}

// static fails for a binary that asks for a loader.
func static(t *testing.T, file string) {
	f, err := elf.Open(file)
	require.NoError(t, err)
	defer f.Close()
	for _, p := range f.Progs {
		require.NotEqual(t, elf.PT_INTERP, p.Type, "%s is not static", file)
	}
}

// lay copies a file into the root, readable and no more.
func lay(t *testing.T, from, to string) int64 {
	text, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
	require.NoError(t, os.WriteFile(to, text, 0o555))
	return int64(len(text))
}
