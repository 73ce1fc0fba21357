package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/remote"
	"github.com/peft-serve/peft-serve/adapters/remote/oci"
	"github.com/peft-serve/peft-serve/internal/downloads"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/training"
)

// pushCommand puts an adapter into a registry.
type pushCommand struct {
	URI       string   `arg:"" help:"oci://registry/repository:tag; credentials are those of docker login."`
	Dir       string   `arg:"" help:"The adapter's folder, or a file of llama.cpp's that is one; of a run's folder, what makes the adapter." type:"path"`
	Base      []string `sep:"none" placeholder:"MODEL" help:"A base that it is for: a Hugging Face folder, a .gguf file or an hf:// URI; may be repeated, for quantised forms say. A server with none of them refuses the adapter."`
	PlainHTTP []string `name:"plain-http" placeholder:"HOST:PORT" help:"Registries that are reached by HTTP, as loopback ones are."`
	TrustHost []string `name:"trust-host" placeholder:"HOST:PORT" help:"Hosts without a public address that the registry may lead to: one that gives out its tokens, or that has its files."`
	training.BaseConfig
}

// Run prints the URI that pins what was pushed.
func (p *pushCommand) Run(ctx context.Context, c console) error {
	ref, err := oci.ParseRef(p.URI)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	folder, err := adapters.Open(p.Dir)
	if err != nil {
		return err
	}
	pushed := oci.Pushed{Dir: p.Dir, Digest: folder.Digest(), BaseName: folder.Config.Base}
	for _, base := range p.Base {
		digest, err := p.fits(ctx, base, folder, c)
		if err != nil {
			return err
		}
		pushed.Bases = append(pushed.Bases, digest)
	}
	if len(p.Base) == 0 {
		c.note("it is not said which base it is for (--base): a server with another one fetches it before it can tell")
	}
	registries, err := oci.New(oci.Config{
		Credentials: oci.CredentialsFile(os.Getenv), PlainHTTP: p.PlainHTTP, Client: remote.Client(p.TrustHost...),
	})
	if err != nil {
		return err
	}
	shown := downloads.New(c.err, func(n int64) string { return training.Size(n).String() })
	pushed.Progress = func(p remote.Progress) { shown.Show(p.URI, p.File, p.Done, p.Size) }
	manifest, err := registries.Push(ctx, p.URI, pushed)
	shown.End()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%s%s/%s@%s\n", oci.Scheme, ref.Registry, ref.Repository, manifest)
	return err
}

// fits loads the adapter on a base, and returns the base's digest.
func (p *pushCommand) fits(ctx context.Context, uri string, folder *adapters.Folder, c console) (digest string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("--base %s: %w", uri, err)
		}
	}()
	path, err := fetchModel(ctx, uri, c)
	if err != nil {
		return "", err
	}
	base, source, err := models.Open(path, p.Options())
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	if _, err := adapters.Load(base, folder); err != nil {
		return "", err
	}
	return models.Digest(base), nil
}
