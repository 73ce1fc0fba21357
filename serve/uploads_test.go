package serve

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/memory"
)

// memoryWith is an account with so much left for adapters that come and go.
func memoryWith(t testing.TB, rest int64) *memory.Account {
	t.Helper()
	a, err := memory.New(memory.Fixed(fstest.MapFS{}, 1<<40, "--memory-limit"), memory.Part{Name: "all else", Bytes: 1<<40 - 2*rest})
	require.NoError(t, err)
	return a
}

// tensors is a safetensors file of F32 tensors.
func tensors(values map[string][]float32) string {
	header, body := map[string]any{}, []byte(nil)
	for name, v := range values {
		start := len(body)
		for _, f := range v {
			body = binary.LittleEndian.AppendUint32(body, uint32(int32(f*1e9)))
		}
		header[name] = map[string]any{"dtype": "F32", "shape": []int{len(v)}, "data_offsets": []int{start, len(body)}}
	}
	text, err := json.Marshal(header)
	if err != nil {
		panic(err)
	}
	return string(binary.LittleEndian.AppendUint64(nil, uint64(len(text)))) + string(text) + string(body)
}

// Adapters as training begins them pass, whatever they pack to: LoRA with A at
// random and B zero, an embedding's LoRA with A zero, BitFit's zeros, IA3's ones.
func TestUntrainedAdaptersAreNoBombs(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	filled := func(n int, f func() float32) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = f()
		}
		return v
	}
	zero, one := func() float32 { return 0 }, func() float32 { return 1 }
	lora, embedded, bitfit, ia3 := map[string][]float32{}, map[string][]float32{}, map[string][]float32{}, map[string][]float32{}
	for i := range 32 {
		lora[fmt.Sprintf("layers.%d.lora_A", i)] = filled(4096*8, func() float32 { return random.Float32() - 0.5 })
		lora[fmt.Sprintf("layers.%d.lora_B", i)] = filled(4096*16, zero)
		bitfit[fmt.Sprintf("layers.%d.bias", i)] = filled(3*14336, zero)
		ia3[fmt.Sprintf("layers.%d.ia3_l", i)] = filled(14336+2048, one)
	}
	embedded["lora_embedding_A"] = filled(16*128256, zero)
	embedded["lora_embedding_B"] = filled(16*4096, func() float32 { return random.Float32() })
	for name, values := range map[string]map[string][]float32{"lora": lora, "embedding": embedded, "bitfit": bitfit, "ia3": ia3} {
		plain := tarOf(t, entry{name: "adapter_config.json", body: "{}"}, entry{name: "adapter_model.safetensors", body: tensors(values)})
		for _, packed := range [][]byte{zstdOf(t, plain), gzipOf(t, plain)} {
			upload := &limitedUpload{bytes.NewReader(packed), 1 << 30, 1 << 30}
			u := unpacking{dir: t.TempDir(), limits: archiveLimits{1 << 30, 10, 4}, packed: upload.got}
			require.NoError(t, u.unpack(upload), name)
			t.Logf("%s: %d bytes of %d, %d:1", name, len(packed), len(plain), len(plain)/len(packed))
		}
	}
}

// More than so many times what has been sent is no adapter, and no more of it is
// written than shows that.
func TestBombsAreRefused(t *testing.T) {
	plain := tarOf(t, entry{name: "adapter_model.safetensors", body: strings.Repeat("\x00", freeRatio+(8<<20))})
	s := realSite(t)
	got := s.send(t, http.MethodPut, "/v1/adapters/x", string(zstdOf(t, plain)))
	require.Equal(t, http.StatusUnprocessableEntity, got.status, got.body)
	require.Contains(t, got.body, `"code":"archive_refused"`)
	require.Contains(t, got.body, `entry \"adapter_model.safetensors\" unpacks to more than 200 times what has been sent`)
	for _, packed := range [][]byte{zstdOf(t, plain), gzipOf(t, plain)} {
		upload := &limitedUpload{bytes.NewReader(packed), 1 << 30, 1 << 30}
		u := unpacking{dir: t.TempDir(), limits: archiveLimits{1 << 30, 10, 4}, packed: upload.got}
		require.Error(t, u.unpack(upload))
		require.LessOrEqual(t, u.written, int64(freeRatio+1<<20))

		upload = &limitedUpload{bytes.NewReader(packed), 1 << 30, 1 << 30}
		u = unpacking{dir: t.TempDir(), limits: archiveLimits{1 << 30, 10, 4}, packed: upload.got, whole: int64(len(packed))}
		require.ErrorContains(t, u.unpack(upload), "unpacks to more than 200 times")
		require.Zero(t, u.written, "its length says so at once")
	}
}

// windowed is an archive that was compressed with a window of that size.
func windowed(t testing.TB, window int, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithWindowSize(window), zstd.WithSingleSegment(false))
	require.NoError(t, err)
	for _, part := range [][]byte{plain[:len(plain)/2], plain[len(plain)/2:]} { // so that its size is not known when the frame begins
		_, err = w.Write(part)
		require.NoError(t, err)
		require.NoError(t, w.Flush())
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// A window beyond the usual one is set aside before it is made, or the upload is
// refused: by what is there now, or by what is decoded at all.
func TestWindowsAreSetAside(t *testing.T) {
	var files []entry
	for _, file := range []string{"adapter_config.json", "adapter_model.safetensors"} {
		text, err := os.ReadFile(filepath.Join(goldens, "adapters", "lora", file))
		require.NoError(t, err)
		files = append(files, entry{name: file, body: string(text)})
	}
	plain := tarOf(t, files...)
	wide := windowed(t, maxWindow, plain)
	var header zstd.Header
	require.NoError(t, header.Decode(wide))
	require.EqualValues(t, maxWindow, header.WindowSize)

	for rest, want := range map[int64]int{maxWindow: http.StatusCreated, maxWindow - usualWindow - 1: http.StatusInsufficientStorage} {
		account := memoryWith(t, rest)
		s := realSite(t, func(_ *catalogue.Options, p *Parts) { p.Memory = account })
		got := s.send(t, http.MethodPut, "/v1/adapters/x", string(wide))
		require.Equal(t, want, got.status, got.body)
		if want != http.StatusCreated {
			require.Contains(t, got.body, `"code":"memory_full"`)
			require.Contains(t, got.body, "unpacking uploads would take 120 MiB")
			require.Equal(t, "5", got.header.Get("Retry-After"))
		}
		require.Equal(t, http.StatusCreated, s.send(t, http.MethodPut, "/v1/adapters/usual", string(windowed(t, usualWindow, plain))).status)
		require.Contains(t, s.get(t, "/metrics").body, `peft_memory_part_bytes{part="unpacking uploads"} 0`)
	}

	for what, archive := range map[string][]byte{
		"a window of 1073741824 bytes": {0x28, 0xb5, 0x2f, 0xfd, 0, 20 << 3, 1, 0, 0},
		"window size exceeded":         append(windowed(t, 1<<20, plain[:512]), windowed(t, maxWindow, plain[512:])...),
	} {
		err := unpackInto(t.TempDir(), bytes.NewReader(archive), archiveLimits{1 << 30, 10, 4})
		require.ErrorContains(t, err, what)
		require.Equal(t, http.StatusUnprocessableEntity, failureOf(err).status)
	}
}

// An upload waits for its place, and not for ever; those that wait are not too
// many.
func TestPlacesOfUploads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUploads(Config{Uploads: 2}, nil)
		first, err := u.enter(t.Context())
		require.NoError(t, err)
		second, err := u.enter(t.Context())
		require.NoError(t, err)
		got := make(chan error)
		go func() { leave, err := u.enter(t.Context()); defer leave(); got <- err }()
		synctest.Wait()
		first()
		first()
		require.NoError(t, <-got)
		synctest.Wait()
		first, err = u.enter(t.Context())
		require.NoError(t, err)

		ctx, leave := context.WithCancelCause(t.Context())
		go func() { _, err := u.enter(ctx); got <- err }()
		synctest.Wait()
		leave(errClientGone)
		require.ErrorIs(t, <-got, errClientGone)

		start := time.Now()
		ended := make(chan int, waitingUploads)
		for range waitingUploads {
			go func() { _, err := u.enter(t.Context()); ended <- failureOf(err).status }()
		}
		synctest.Wait()
		_, err = u.enter(t.Context())
		f := failureOf(err)
		require.Equal(t, 429, f.status)
		require.Equal(t, "uploads_full", f.code)
		require.Positive(t, f.retry)
		require.Zero(t, time.Since(start))
		for range waitingUploads {
			require.Equal(t, 429, <-ended)
		}
		require.Equal(t, u.wait, time.Since(start))
		first()
		second()
		require.Empty(t, u.places)
		require.Empty(t, u.queue)
	})
}

// An upload has its place until it is published: what waits to be read is bounded
// as what is received is.
func TestUploadsKeepTheirPlace(t *testing.T) {
	reading, read := make(chan struct{}), make(chan struct{})
	s := realSite(t, func(o *catalogue.Options, _ *Parts) {
		o.Size = func(string) int {
			select {
			case reading <- struct{}{}:
				<-read
			case <-read:
			}
			return 1
		}
	})
	s.server.intake.places, s.server.intake.wait = make(chan struct{}, 1), time.Millisecond
	archive := packed(t, filepath.Join(goldens, "adapters", "lora"))
	first := make(chan answer)
	go func() { first <- s.send(t, http.MethodPut, "/v1/adapters/x", archive) }()
	<-reading
	got := s.send(t, http.MethodPut, "/v1/adapters/y", archive)
	require.Equal(t, http.StatusTooManyRequests, got.status, got.body)
	require.Contains(t, got.body, `"code":"uploads_full"`)
	close(read)
	require.Equal(t, http.StatusCreated, (<-first).status)
	require.Equal(t, http.StatusCreated, s.send(t, http.MethodPut, "/v1/adapters/y", archive).status)
}

// What comes too slowly to end soon is given up, and what comes well is not,
// however long it takes.
func TestSlowUploads(t *testing.T) {
	for _, c := range []struct {
		chunk int
		every time.Duration
		slow  bool
	}{{1, 29 * time.Second, true}, {1, 31 * time.Second, true}, {slowestUpload, 2 * time.Second, true}, {2 * slowestUpload, time.Second, false}, {64 << 10, 29 * time.Second, true}, {1 << 20, 29 * time.Second, false}} {
		synctest.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			sent := make(chan struct{})
			defer func() { server.Close(); <-sent }()
			go func() {
				defer close(sent)
				defer client.Close()
				for range 100 {
					time.Sleep(c.every)
					if _, err := client.Write(make([]byte, c.chunk)); err != nil {
						return
					}
				}
			}()
			upload := &slowUpload{r: server, conn: server, stall: 30 * time.Second, until: time.Now().Add(time.Hour)}
			n, err := io.Copy(io.Discard, upload)
			if !c.slow {
				require.NoError(t, err, "%+v after %d bytes in %s", c, n, upload.waited)
				require.EqualValues(t, 100*c.chunk, n)
				return
			}
			f := failureOf(err)
			require.Equal(t, "upload_stalled", f.code, "%+v: %v", c, err)
			require.Equal(t, http.StatusRequestTimeout, f.status)
			_, err = server.Read(make([]byte, 1))
			require.ErrorIs(t, err, os.ErrDeadlineExceeded, "the rest is not waited for")
		})
	}
}

// All uploads together have no more of the disk than one may have, and give back
// what they had.
func TestDiskOfUploads(t *testing.T) {
	u := newUploads(Config{Uploads: 1}, nil)
	first, second := &stage{uploads: u, dir: t.TempDir(), most: 3 << 20}, &stage{uploads: u, dir: t.TempDir(), most: 3 << 20}
	for range 3 {
		require.NoError(t, first.room(roomStep))
	}
	require.NoError(t, second.room(roomStep))
	f := failureOf(second.room(roomStep))
	require.Equal(t, http.StatusInsufficientStorage, f.status)
	require.Equal(t, "disk_full", f.code)
	first.end()
	first.end()
	require.NoError(t, second.room(roomStep))
	second.end()
	require.Zero(t, u.staged)
}

// Many hostile uploads at once: no more than so many are unpacked, the account is
// never overdrawn and back where it began, nothing is left on the disk, and an
// honest upload comes through.
func TestManyHostileUploads(t *testing.T) {
	const rest = 2*maxWindow + 1<<20
	account := memoryWith(t, rest)
	s := realSite(t, func(_ *catalogue.Options, p *Parts) { p.Memory = account })
	before := treeOf(t, s.server.config.Adapters)
	archives := [][]byte{
		windowed(t, maxWindow, tarOf(t, entry{name: "adapter_model.safetensors", body: strings.Repeat("\x00", 2<<20)})),
		zstdOf(t, tarOf(t, entry{name: "x", body: strings.Repeat("\x00", freeRatio+1<<20)})),
		gzipOf(t, tarOf(t, entry{name: "adapter_config.json", body: "{}"}, entry{name: "adapter_model.safetensors", body: "\xff\xff\xff\x7f\x00\x00\x00\x00{"})),
	}
	answers := make(chan answer, 24)
	for i := range cap(answers) {
		go func() {
			answers <- s.send(t, http.MethodPut, fmt.Sprint("/v1/adapters/h", i), string(archives[i%len(archives)]))
		}()
	}
	for n := 0; n < cap(answers); {
		select {
		case got := <-answers:
			n++
			require.Contains(t, []int{422, 429, 507}, got.status, got.body)
		default:
			require.LessOrEqual(t, len(s.server.intake.places), s.server.config.Uploads)
			for _, l := range account.Lines() {
				require.LessOrEqual(t, l.Used, l.Most, l.Name)
			}
		}
	}
	for _, l := range account.Lines()[1:] {
		require.Zero(t, l.Used, l.Name)
	}
	require.Eventually(t, func() bool { return treeOf(t, s.server.config.Adapters) == before }, 10*time.Second, 10*time.Millisecond)
	require.Zero(t, s.server.intake.staged)
	require.Equal(t, 201, s.send(t, http.MethodPut, "/v1/adapters/x", packed(t, filepath.Join(goldens, "adapters", "lora"))).status)
}

// While nearly all of the memory is taken new work is refused, requests as such
// and uploads for want of storage, and the rest goes on.
func TestPressedServer(t *testing.T) {
	full := fstest.MapFS{"proc/self/status": {Data: []byte("RssAnon: 1000000 kB\n")}}
	account, err := memory.New(memory.Fixed(full, 1000000<<10, "--memory-limit"))
	require.NoError(t, err)
	s := newSite(t, func(c *Config, p *Parts) { c.Adapters, p.Memory = t.TempDir(), account })
	got := s.post(t, "/v1/completions", `{"prompt":"a"}`)
	require.Equal(t, http.StatusTooManyRequests, got.status, got.body)
	require.Contains(t, got.body, `"code":"memory_pressed"`)
	require.Contains(t, got.body, "the server takes 977 MiB of memory")
	require.Equal(t, "5", got.header.Get("Retry-After"))
	got = s.send(t, http.MethodPut, "/v1/adapters/x", string(gzipOf(t, tarOf(t, good...))))
	require.Equal(t, http.StatusInsufficientStorage, got.status, got.body)
	require.Equal(t, 200, s.get(t, "/v1/adapters").status)
	require.Contains(t, s.get(t, "/metrics").body, "peft_memory_used_bytes 1.024e+09")
	full["proc/self/status"] = &fstest.MapFile{Data: []byte("RssAnon: 1000 kB\n")}
	require.Eventually(t, func() bool { return s.post(t, "/v1/completions", `{"prompt":"a"}`).status == 200 }, 10*time.Second, 10*time.Millisecond)
}

// Bodies that clients begin and do not end take no more than there is for them,
// small ones wait for none of them, and what they had is given back.
func TestUnfinishedBodiesAreSetAside(t *testing.T) {
	const length, fit = 6 << 20, 5
	account := memoryWith(t, 4*fit*length)
	s := newSite(t, func(_ *Config, p *Parts) { p.Memory = account })
	arriving := func() memory.Line {
		lines := account.Lines()
		return lines[len(lines)-1]
	}
	var unfinished []net.Conn
	for range fit + 3 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		require.NoError(t, err)
		defer conn.Close()
		_, err = fmt.Fprintf(conn, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", length, strings.Repeat(" ", smallBody))
		require.NoError(t, err)
		unfinished = append(unfinished, conn)
	}
	require.Eventually(t, func() bool {
		return arriving() == memory.Line{Name: memory.Arriving, Used: fit * length, Most: fit * length}
	}, 10*time.Second, time.Millisecond)
	require.Equal(t, 200, s.post(t, "/v1/completions", `{"prompt":"a"}`).status)
	for _, conn := range unfinished {
		require.NoError(t, conn.Close())
	}
	require.Eventually(t, func() bool { return arriving().Used == 0 }, 10*time.Second, time.Millisecond)
	whole := `{"prompt":"a"` + strings.Repeat(" ", length) + "}"
	require.Equal(t, 200, s.post(t, "/v1/completions", whole).status)
	require.Zero(t, arriving().Used)
}

// An owner who has no more room is told so; a larger adapter than all of it is
// refused for good.
func TestQuotaAnswers(t *testing.T) {
	quota := 1
	s := realSite(t, func(o *catalogue.Options, _ *Parts) { o.Owner = func(string) (string, int) { return "team-a", quota } })
	got := s.send(t, http.MethodPut, "/v1/adapters/x", packed(t, filepath.Join(goldens, "adapters", "lora")))
	require.Equal(t, http.StatusUnprocessableEntity, got.status, got.body)
	require.Contains(t, got.body, `"code":"adapter_too_large"`)
	quota = 1 << 20
	require.Equal(t, 200, s.post(t, "/v1/adapters/lora/pin", "").status)
	used, _ := s.server.catalogue.Bytes()
	quota = used + 1
	for _, got := range []answer{
		s.send(t, http.MethodPut, "/v1/adapters/x", packed(t, filepath.Join(goldens, "adapters", "dora"))),
		s.post(t, "/v1/completions", `{"model":"prefix","prompt":"a"}`),
	} {
		if got.status == http.StatusUnprocessableEntity { // it is larger than the first
			continue
		}
		require.Equal(t, http.StatusTooManyRequests, got.status, got.body)
		require.Contains(t, got.body, `"code":"adapter_quota"`)
		require.Contains(t, got.body, fmt.Sprintf(`all of \"team-a\" may take %d`, quota))
		require.Equal(t, "5", got.header.Get("Retry-After"))
	}
}
