package s3

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/smithy-go/encoding/httpbinding"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/remote"
	"github.com/peft-serve/peft-serve/models/chat"
)

const (
	maxListing = 4 << 20 // bytes of a page of names: 1,000 of them take less
	maxPages   = 10      // of a folder's objects
	maxReply   = 64 << 10
)

// Store finds adapters in a store.
type Store struct {
	config Config
	client *http.Client
	signer *v4.Signer
}

var _ remote.Source = (*Store)(nil)

// New returns a Store.
func New(c Config) *Store {
	client := *c.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }   // a signature is for one host
	return &Store{c, &client, v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })} // S3 escapes once
}

// Pinned implements remote.Source. What a digest pins is known once the tensors
// are read: see Ref.
func (s *Store) Pinned(string) (id string) { return "" }

// Open implements remote.Source.
func (s *Store) Open(ctx context.Context, uri string) (*remote.Artefact, error) {
	ref, err := ParseRef(uri)
	if err != nil {
		return nil, err
	}
	b := &bucket{store: s, name: ref.Bucket, region: s.config.Region}
	tags := map[string]string{}
	a := &remote.Artefact{}
	for _, folder := range []string{"", chat.TemplateFolder + "/"} {
		objects, err := b.list(ctx, ref.key(folder))
		if err != nil {
			return nil, err
		}
		for _, o := range objects {
			name, ok := strings.CutPrefix(o.Key, ref.key(""))
			if !ok || !adapters.IsFile(name) || tags[name] != "" {
				continue
			}
			if o.ETag == "" {
				return nil, fmt.Errorf("%w: the list gives no ETag of %s", remote.ErrReply, name)
			}
			tags[name] = o.ETag
			a.Files = append(a.Files, remote.File{Name: name, Size: o.Size})
		}
	}
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%q %q %q\n", s.config.Endpoint, ref.Bucket, ref.Prefix) // a hash never fails
	for _, f := range a.Files {
		_, _ = fmt.Fprintf(h, "%q %q %d\n", f.Name, tags[f.Name], f.Size)
	}
	a.ID = "s3-" + hex.EncodeToString(h.Sum(nil))
	a.Read = func(ctx context.Context, f remote.File) (io.ReadCloser, error) {
		return b.get(ctx, ref.key(f.Name), tags[f.Name])
	}
	return a, nil
}

// bucket is a bucket in the region where it turns out to be.
type bucket struct {
	store        *Store
	name, region string
}

type object struct {
	Key  string
	ETag string
	Size int64
}

// list lists the objects below prefix and not below a further slash.
func (b *bucket) list(ctx context.Context, prefix string) ([]object, error) {
	query := url.Values{"list-type": {"2"}, "delimiter": {"/"}, "prefix": {prefix}}
	var all []object
	for range maxPages {
		response, err := b.do(ctx, "", query, "", maxListing)
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil {
			return nil, remote.Fault(err)
		}
		var page struct {
			Contents              []object
			IsTruncated           bool
			NextContinuationToken string
		}
		if err := xml.Unmarshal(text, &page); err != nil {
			return nil, fmt.Errorf("%w: the list of objects: %w", remote.ErrReply, err)
		}
		all = append(all, page.Contents...)
		if !page.IsTruncated {
			return all, nil
		}
		query.Set("continuation-token", page.NextContinuationToken)
	}
	return nil, fmt.Errorf("%w: more than %d objects lie beside the adapter's", remote.ErrTooLarge, len(all))
}

// get reads an object that still has that tag.
func (b *bucket) get(ctx context.Context, key, tag string) (io.ReadCloser, error) {
	response, err := b.do(ctx, key, nil, tag, 0)
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

// do asks for an object, or for what query says of the bucket. Of a bucket in
// another region AWS says which.
func (b *bucket) do(ctx context.Context, key string, query url.Values, tag string, most int64) (*http.Response, error) {
	response, err := b.send(ctx, key, query, tag, most)
	if err != nil {
		return nil, remote.Fault(err)
	}
	if other := response.Header.Get("X-Amz-Bucket-Region"); response.StatusCode/100 != 2 && other != b.region && region.MatchString(other) {
		_ = response.Body.Close()
		b.region = other
		if response, err = b.send(ctx, key, query, tag, most); err != nil {
			return nil, remote.Fault(err)
		}
	}
	if response.StatusCode/100 == 2 {
		return response, nil
	}
	defer func() { _ = response.Body.Close() }()
	return nil, b.fault(response)
}

var region = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// address is that of an object, or of the bucket; AWS's have the bucket in
// their host unless its name is several labels of one.
func (b *bucket) address(key string) *url.URL {
	u := &url.URL{Scheme: "https", Host: "s3." + b.region + ".amazonaws.com", Path: "/" + b.name + "/" + key}
	if own, err := url.Parse(b.store.config.Endpoint); err == nil && own.Host != "" {
		u.Scheme, u.Host = own.Scheme, own.Host
	} else if !strings.Contains(b.name, ".") {
		u.Host, u.Path = b.name+"."+u.Host, "/"+key
	}
	return u
}

func (b *bucket) send(ctx context.Context, key string, query url.Values, tag string, most int64) (*http.Response, error) {
	u := b.address(key)
	u.RawPath, u.RawQuery = httpbinding.EscapePath(u.Path, false), query.Encode() // as it is signed: = and + are escaped
	ctx = remote.Peer{Host: u.Host, Secure: u.Scheme == "https", Most: most}.With(ctx)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "peft-serve")
	if tag != "" {
		request.Header.Set("If-Match", tag)
	}
	if c := b.store.config; c.AccessKey != "" {
		request.Header.Set("X-Amz-Content-Sha256", ofNothing)
		as := aws.Credentials{AccessKeyID: c.AccessKey, SecretAccessKey: c.SecretKey, SessionToken: c.SessionToken}
		if err := b.store.signer.SignHTTP(ctx, as, request, ofNothing, "s3", b.region, time.Now()); err != nil {
			return nil, err
		}
	}
	return b.store.client.Do(request)
}

// ofNothing is the SHA-256 of a request without a body.
const ofNothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

var faultCode = regexp.MustCompile(`^[A-Za-z]{1,64}$`)

func (b *bucket) fault(response *http.Response) error {
	if response.StatusCode == http.StatusPreconditionFailed {
		return fmt.Errorf("%w: the object has been replaced meanwhile: try again", remote.ErrCorrupt)
	}
	advice := "there are no credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SHARED_CREDENTIALS_FILE"
	if b.store.config.AccessKey != "" {
		advice = "the credentials in use need s3:ListBucket and s3:GetObject there"
	}
	err := remote.StatusFault(response.StatusCode, advice)
	var said struct{ Code string }
	if xml.NewDecoder(io.LimitReader(response.Body, maxReply)).Decode(&said) == nil && faultCode.MatchString(said.Code) {
		err = fmt.Errorf("%w (%s)", err, said.Code)
	}
	return err
}
