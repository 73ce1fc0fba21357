package main

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/peft-serve/peft-serve/internal/disk"
)

// A source is a file that others made.
type source struct {
	path   string // below the folder of data
	url    string
	member string // of the zip archive at url; empty: it is the file
	sum    string // SHA-256
}

const (
	glue    = "https://dl.fbaipublicfiles.com/glue/data/SST-2.zip"
	e2e     = "https://raw.githubusercontent.com/tuetschek/e2e-dataset/master/"
	banking = "https://raw.githubusercontent.com/PolyAI-LDN/task-specific-datasets/master/banking_data/"
)

var sources = []source{
	{"data/glue/SST-2/train.tsv", glue, "SST-2/train.tsv", "48eac26399f8456935f81dd9e3a745c1430adb6c62e233ccfe22db4a0d15d1d1"},
	{"data/glue/SST-2/dev.tsv", glue, "SST-2/dev.tsv", "54a9c12c77e402fc14d6a66a506f24d999f596b0176eb777c972cccc2f9cc4b0"},
	{"data/nlg/e2e_devset.csv", e2e + "devset.csv", "", "fc26b78cdb849c80545f513b223d1e051138b43882eeb79e3eb153e689c864f9"},
	{"data/nlg/e2e_testset_w_refs.csv", e2e + "testset_w_refs.csv", "", "edc8db685e39bb9824d5bd70c18b1c9b0412d14b527aa960e2d1c8251ee15ccd"},
	{"data/classification/banking77/train.csv", banking + "train.csv", "", "b06e26ac675513959a63135f11b94ea7786ed02da65db93a5650d8838cbc664b"},
	{"data/classification/banking77/test.csv", banking + "test.csv", "", "d12d6e3bc4c3103966ae786dc435913c0c563dfa328f5a3646d0e62cfeeb474d"},
	{"text/misc/tinyshakespeare.txt", "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt", "", "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"},
}

// largest bounds what is fetched.
const largest = 64 << 20

// fetch brings a file from a folder, or else from its makers, to another folder.
func (s source) fetch(ctx context.Context, from, to string, out io.Writer) error {
	place := filepath.Join(to, filepath.FromSlash(s.path))
	if b, err := os.ReadFile(place); err == nil && s.check(b) == nil {
		return nil
	}
	b, err := os.ReadFile(filepath.Join(from, filepath.FromSlash(s.path)))
	if err == nil {
		err = s.check(b)
	} else {
		fmt.Fprintf(out, "fetching %s\n", s.url)
		b, err = s.download(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %w; data -from DIR takes DIR/%s", place, err, s.path)
	}
	if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
		return err
	}
	return disk.Write(place, b)
}

func (s source) check(b []byte) error {
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != s.sum {
		return fmt.Errorf("its SHA-256 is %x, want %s", sum, s.sum)
	}
	return nil
}

func (s source) download(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", s.url, answer.Status)
	}
	b, err := io.ReadAll(io.LimitReader(answer.Body, largest))
	if err == nil && s.member != "" {
		b, err = unzip(b, s.member)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.url, err)
	}
	return b, s.check(b)
}

func unzip(archive []byte, name string) ([]byte, error) {
	r, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return nil, err
	}
	file, err := r.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return io.ReadAll(io.LimitReader(file, largest))
}
