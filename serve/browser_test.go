//go:build browser

// The browser's client takes a minute to compile: make browser.

package serve

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/runtime"
)

// A tab is a page in a headless Chromium.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu     sync.Mutex
	asked  []string // URLs
	faults []string // what the browser complained of: the policy, exceptions
}

// openTab opens the page of a server.
func openTab(t *testing.T, s *site) *tab {
	t.Helper()
	var program string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		t.Skip("NOT RUN: there is no Chromium here (apt-get install chromium)")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.WindowSize(1280, 900))
	ctx, endBrowser := chromedp.NewExecAllocator(t.Context(), options...)
	p := &tab{t: t}
	ctx, endTab := chromedp.NewContext(ctx, chromedp.WithListener(func(event any) {
		p.mu.Lock()
		defer p.mu.Unlock()
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			p.asked = append(p.asked, e.Request.URL)
		case *cdpruntime.EventExceptionThrown:
			p.faults = append(p.faults, e.ExceptionDetails.Text)
		case *log.EventEntryAdded:
			if e.Entry.Source != log.EntrySourceNetwork { // a status that is an error
				p.faults = append(p.faults, e.Entry.Text)
			}
		}
	}))
	p.ctx = ctx
	t.Cleanup(func() { endTab(); endBrowser() })
	p.do(chromedp.Navigate(s.url + "/"))
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		require.Empty(t, p.faults)
		for _, url := range p.asked {
			require.True(t, strings.HasPrefix(url, s.url+"/") || strings.HasPrefix(url, "data:"), url)
		}
	})
	return p
}

func (p *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := p.ctx, context.CancelFunc(func() {})
	if chromedp.FromContext(ctx).Target != nil { // the first start of the browser has no limit
		ctx, cancel = context.WithTimeout(ctx, 30*time.Second)
	}
	defer cancel()
	require.NoError(p.t, chromedp.Do(ctx, actions...))
}

// sees waits until an expression of JavaScript holds.
func (p *tab) sees(expression string) {
	p.t.Helper()
	if _, err := chromedp.Run(p.ctx, chromedp.Poll[bool]("!!("+expression+")")); err != nil {
		text, _ := chromedp.Run(p.ctx, chromedp.Evaluate[string]("document.body.innerText"))
		require.NoError(p.t, err, "%s\n%s", expression, text)
	}
}

func (p *tab) says(selector, text string) {
	p.t.Helper()
	p.sees(`[...document.querySelectorAll('` + selector + `')].some(e => e.textContent.includes(` + "`" + text + "`" + `))`)
}

func (p *tab) click(selector string) { p.t.Helper(); p.do(chromedp.Click(chromedp.CSS(selector))) }

func (p *tab) write(selector, text string) {
	p.t.Helper()
	p.sees(`(document.querySelector('` + selector + `').value = '') === ''`)
	p.do(chromedp.SendKeys(chromedp.CSS(selector), text))
}

// shoot keeps a picture of the page where PEFT_PICTURES says.
func (p *tab) shoot(name string) {
	p.t.Helper()
	folder := os.Getenv("PEFT_PICTURES")
	if folder == "" {
		return
	}
	picture, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	require.NoError(p.t, err)
	require.NoError(p.t, os.WriteFile(filepath.Join(folder, name+".png"), picture, 0o600))
}

func row(name string) string { return `#rows tr[data-identity="` + name + `"] ` }

// archiveFile is an adapter's archive as somebody has it on their disk.
func archiveFile(t *testing.T, name string) string {
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, gzipOf(t, tarOf(t, good...)), 0o600))
	return path
}

// Every control of the page does what it says.
func TestPage(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) { c.Adapters = t.TempDir() })
	s.engine.script = func(r *runtime.Request) (string, runtime.Finish, error) {
		if r.Lease.Name() == "sql" {
			return "SELECT <b>name</b> FROM a;", runtime.FinishEOS, nil
		}
		return "Hi there.", runtime.FinishEOS, nil
	}
	s.catalogue.entries["broken"].State, s.catalogue.entries["broken"].Err = catalogue.Failed, errBroken
	p := openTab(t, s)

	p.says("#who", "127.0.0.1")
	p.says("#base", "base-model")
	p.says(row("sql"), "cold")
	p.says(row("broken")+".fault", "lora_B.weight is missing")
	p.says("#memory", "of 1.0 MiB in memory")
	p.sees(`document.querySelector('#mode-chat').checked`)
	p.shoot("start")

	// An answer of each that is chosen: by the keyboard, as a conversation.
	p.says("#send", "Send to 3")
	p.write("#prompt", "Who?")
	p.do(chromedp.KeyEvent(kb.Enter, chromedp.KeyModifiers(chromedp.ModifierCtrl)))
	p.says("#notice", "All 3 have answered.")
	p.says("article", "SELECT <b>name</b> FROM a;") // and not bold
	p.says("article .facts", "version digest-of-sq")
	p.says(row("sql"), "resident")
	p.sees(`document.querySelectorAll('article[aria-busy=false]').length === 3`)
	p.says(row("sql")+".version", "digest-of-sq")
	require.Len(t, s.engine.requests(), 3)
	require.Contains(t, s.engine.text.Decode(s.engine.requests()[0].Prompt, true), "Who?")
	require.Equal(t, 64, s.engine.requests()[0].MaxTokens)
	p.shoot("answers")

	// As a text, of some, with other settings.
	p.click("#choose-none")
	p.sees(`document.querySelector('#send').disabled`)
	p.click(`#chips input[value=""]`)
	p.click("#mode-text")
	p.write("#tokens", "5")
	p.click("#send")
	p.says("article .facts", "5 tokens in")
	p.says("article .facts", "cut at the limit")
	require.Len(t, s.engine.requests(), 4)
	require.Equal(t, "Who?", s.engine.text.Decode(s.engine.requests()[3].Prompt, true))
	p.click("#choose-all")
	p.says("#send", "Send to 4")
	p.click("#send")
	p.says("#notice", "1 of 4 did not answer.")
	p.says("article .fault", "lora_B.weight is missing")

	// What comes can be stopped.
	s.engine.pause = 100 * time.Millisecond
	p.write("#tokens", "24")
	p.click("#send")
	p.says("article .text", "H")
	p.sees(`document.querySelectorAll('article[aria-busy=true]').length > 0`)
	p.do(chromedp.KeyEvent(kb.Escape))
	p.says("#notice", "Stopped.")
	p.says("article .facts", "stopped")
	s.engine.pause = 0

	// What happens elsewhere shows.
	s.server.metrics.adapters.finished("sql", "stop", runtime.Usage{Adapters: []string{"sql"}, PromptTokens: 8, CachedTokens: 6})
	require.NoError(t, s.catalogue.with("cold", func(e *catalogue.Entry) error { e.State = catalogue.Loading; return nil }))
	p.says(row("cold"), "loading")
	p.says(row("sql")+".number", "1")
	p.says(row("sql")+".number", "75 % of prompts cached")
	require.NoError(t, s.catalogue.with("cold", func(e *catalogue.Entry) error { e.State = catalogue.Resident; return nil }))
	p.says(row("cold"), "resident")

	// Pinning and deleting.
	p.click(row("sql") + "[data-action=pin]")
	p.says(row("sql"), "resident, pinned")
	require.True(t, s.catalogue.Entries()[2].Pinned)
	p.sees(`document.activeElement.ariaLabel === 'Unpin sql'`)
	p.click(row("sql") + "[data-action=pin]")
	p.says(row("sql")+"[data-action=pin]", "Pin")
	p.says("#notice", "may leave the memory")
	p.click(row("cold") + "[data-action=delete]")
	p.says("#delete-title", "Delete cold?")
	p.click("#delete-cancel")
	p.sees(`!document.querySelector('#delete-dialog').open`)
	require.Len(t, s.catalogue.Entries(), 3)
	p.click(row("cold") + "[data-action=delete]")
	p.click("#delete-form [type=submit]")
	p.says("#notice", "cold is deleted.")
	p.sees(`!document.querySelector('` + row("cold") + `')`)
	p.sees(`document.querySelectorAll('#chips input').length === 3`)

	// Publishing what is chosen, and what is dropped.
	p.do(chromedp.SetUploadFiles(chromedp.CSS("#file"), []string{archiveFile(t, "new one.tar.gz")}))
	p.sees(`document.querySelector('#name').value === 'new-one'`)
	p.click("#cancel-publish")
	p.sees(`document.querySelector('#publish-controls').hidden`)
	p.drop(archiveFile(t, "dropped.tar.gz"))
	p.sees(`document.querySelector('#name').value === 'dropped'`)
	p.shoot("publish")
	p.click("#publish-button")
	p.says("#notice", "dropped is published.")
	p.says(row("dropped"), "resident")
	p.drop(archiveFile(t, "dropped.tar.gz"))
	p.says("#publish-button", "Replace")
	p.write("#name", "broken-too")
	p.click("#publish-button")
	p.says("#notice.fault", "lora_B.weight is missing")
	p.click("#cancel-publish")
	p.drop(archiveFile(t, "notes.txt"))
	p.says("#notice.fault", "Drop one archive")

	// Narrow, and in the dark.
	p.do(colours("dark"))
	p.shoot("dark")
	p.do(command(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: 360, Height: 740, DeviceScaleFactor: 2, Mobile: true}))
	p.sees(`document.documentElement.scrollWidth <= 360`)
	p.shoot("narrow-dark")
	p.do(colours("light"))
	p.shoot("narrow")
}

// command is a command to the browser that answers nothing.
func command[P any](c cdp.Command[P, cdp.Empty], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

// colours are those that somebody prefers, light or dark.
func colours(scheme string) chromedp.Action[chromedp.Void] {
	return command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
}

// drop drags a file onto the page and lets go.
func (p *tab) drop(path string) {
	p.t.Helper()
	data := &input.DragData{Items: []*input.DragDataItem{}, Files: []string{path}, DragOperationsMask: 1}
	for _, kind := range []input.DispatchDragEventType{input.DispatchDragEventTypeDragEnter, input.DispatchDragEventTypeDragOver, input.DispatchDragEventTypeDrop} {
		p.do(command(input.DispatchDragEvent, input.DispatchDragEventParams{Type: kind, X: 400, Y: 400, Data: data}))
	}
}

// Where there are keys the page asks for one, says whose it is, and shows what it
// may do.
func TestPageWithKeys(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) { c.Keys, c.Adapters = readKeys(t, twoTeams), t.TempDir() })
	for _, name := range []string{"team-a.mine", "team-b.secret"} {
		s.catalogue.Add(name, "/adapters/"+name)
	}
	p := openTab(t, s)
	p.sees(`document.querySelector('#key-dialog').open`)
	p.shoot("key")
	p.write("#key", "nobody-secret")
	p.do(chromedp.KeyEvent(kb.Enter))
	p.says("#key-why", "not known here")
	p.write("#key", "team-a-secret")
	p.do(chromedp.KeyEvent(kb.Enter))
	p.says("#who", "You are team-a")
	p.sees(`document.querySelector('` + row("team-a.mine") + `')`)
	p.says("#publishable", `begin with "team-a."`)
	p.sees(`!document.body.textContent.includes('team-b.secret') && !document.querySelector('[data-action=pin]')`)
	p.sees(`sessionStorage.length === 1 && localStorage.length === 0 && !document.cookie`)

	p.drop(archiveFile(t, "theirs.tar.gz"))
	p.click("#publish-button")
	p.says("#notice.fault", `may not publish adapter "theirs"`)

	p.click("#change-key")
	p.write("#key", "reader-secret")
	p.do(chromedp.KeyEvent(kb.Enter))
	p.says("#who", "You are reader")
	p.sees(`document.querySelector('` + row("sql") + `') && !document.querySelector('#rows :is([data-action=pin], [data-action=delete])') && document.querySelector('#publish-section').hidden`)
	p.click("#change-key")
	p.write("#key", "scraper-secret")
	p.do(chromedp.KeyEvent(kb.Enter))
	p.says("#who", "You are scraper")
	p.sees(`document.querySelector('#send').disabled`)
	p.click("#forget-key")
	p.sees(`document.querySelector('#key-dialog').open && sessionStorage.length === 0`)
	p.click("#key-cancel")
	p.says("#notice", "asks for a key")
	p.sees(`!document.querySelector('#change-key').hidden`)
}

// A built-in adapter offers a prompt of its kind, which is sent as a text, and
// cannot be deleted.
func TestPageExamples(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) {
		c.Adapters, c.Examples = t.TempDir(), map[string]string{"builtin://own": "Input: a\nOutput:"}
	})
	s.catalogue.Add("own", "builtin://own")
	p := openTab(t, s)
	p.says("#examples", "own")
	p.sees(`document.querySelector('#mode-text').checked`)
	p.click("#examples button")
	p.sees("document.querySelector('#prompt').value === 'Input: a\\nOutput:'")
	p.sees(`document.activeElement.id === 'prompt'`)
	p.sees(`document.querySelector('` + row("sql") + `[data-action=delete]') && !document.querySelector('` + row("own") + `[data-action=delete]')`)
	p.shoot("examples")
	p.click("#send")
	p.says("#notice", "1 of 5 did not answer")
	require.Equal(t, "Input: a\nOutput:", s.engine.text.Decode(s.engine.requests()[0].Prompt, true))
}

// The versions of an adapter show, with which of them answer, and another can be
// made live.
func TestPageOfVersions(t *testing.T) {
	s := realSiteOf(t, Config{Name: "tiny", KeepVersions: 3})
	one := s.publishVersion(t, "x", 1, 201)
	two := s.publishVersion(t, "x", 2, 200)
	three := s.publishVersion(t, "x?canary=5", 3, 200)
	s.ask(t, "x", "")
	p := openTab(t, s)
	p.says(row("x")+".version", two[:12])
	p.says(row("x "+three), "canary, 5 %, resident")
	p.sees(`!document.querySelector('` + row("x "+three) + `[data-action=delete]')`)
	p.sees(`document.querySelectorAll('#chips input[value=x]').length === 1`)
	p.click(row("x") + "[data-action=versions]")
	p.says("#versions-title", "Versions of x")
	p.says("#versions li", two[:12]+", live, uploaded ")
	p.says("#versions li", three[:12]+", canary, 5 %, uploaded ")
	p.says("#versions li", one[:12]+", kept, uploaded ")
	p.sees(`document.querySelectorAll('#versions [data-action=rollback]').length === 2`)
	p.shoot("versions")
	p.click(`#versions [aria-label="Make live ` + one[:12] + `"]`)
	p.says("#notice", "Version "+one[:12]+" of x is live.")
	p.sees(`!document.querySelector('#versions-dialog').open`)
	p.says(row("x")+".version", one[:12])
	_, without := s.sessionsOf(t, "x", three) // the canary goes on
	digest, _ := s.ask(t, "x", without)
	require.Equal(t, one, digest)
	p.click(row("x") + "[data-action=versions]")
	p.says("#versions li", one[:12]+", live, uploaded ")
	p.click("#versions-close")
	p.sees(`!document.querySelector('#versions-dialog').open`)
}

// Where a head is there, a text is classified by all that are chosen, side by side.
func TestPageOfClasses(t *testing.T) {
	s := newHeads(t, func(c *Config, p *Parts) {
		c.Adapters = t.TempDir()
		p.Base.Architecture = &models.Architecture{Class: "BertModel", Tasks: []models.Task{models.Encode, models.Classify, models.Tag}}
		p.Chat = nil
	})
	p := openTab(t, s)
	p.sees(`document.querySelector('#mode-classes').checked && document.querySelector('#mode-text').parentElement.hidden && document.querySelector('#tokens-label').hidden`)
	p.click("#choose-none")
	p.click(`#chips input[value=sql]`)
	p.click(`#chips input[value=ner]`)
	p.click(`#chips input[value=cold]`)
	p.write("#prompt", "Anna lives in Ulm")
	p.click("#send")
	p.says("#notice", "1 of 3 did not answer")
	p.says("article .text", "so so  ")
	p.says("article .fault", "has no head")
	p.says("article .facts", "version digest-of-sq")
	p.shoot("classes")
	p.click(`#chips input[value=ner]`)
	p.click(`#chips input[value=cold]`)
	p.click("#send")
	p.says("#notice", "Answered.")
	p.says("article .text", "good  0.")
	require.Equal(t, runtime.EncodeScores, s.engine.requests()[0].Encode)
}
