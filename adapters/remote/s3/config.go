package s3

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/peft-serve/peft-serve/internal/regular"
)

// Config says where a store is and who asks.
type Config struct {
	Endpoint string // http(s)://host[:port] of a store that is not AWS's; empty: AWS's
	Region   string // default us-east-1

	AccessKey, SecretKey, SessionToken string // none: requests are not signed

	Client *http.Client
}

// ConfigFrom reads the variables and files of the AWS tools: AWS_ENDPOINT_URL_S3,
// AWS_ENDPOINT_URL, AWS_REGION, AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID,
// AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and, for what they do not say, the
// profile AWS_PROFILE in AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE. getenv
// is os.Getenv outside of tests.
func ConfigFrom(getenv func(string) string) (Config, error) {
	c := Config{
		Endpoint:  cmp.Or(getenv("AWS_ENDPOINT_URL_S3"), getenv("AWS_ENDPOINT_URL")),
		Region:    cmp.Or(getenv("AWS_REGION"), getenv("AWS_DEFAULT_REGION")),
		AccessKey: getenv("AWS_ACCESS_KEY_ID"), SecretKey: getenv("AWS_SECRET_ACCESS_KEY"), SessionToken: getenv("AWS_SESSION_TOKEN"),
	}
	if (c.AccessKey == "") != (c.SecretKey == "") {
		return c, errors.New("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together: one of them is not set")
	}
	profile := cmp.Or(getenv("AWS_PROFILE"), "default")
	home := cmp.Or(getenv("HOME"), getenv("USERPROFILE"))
	credentials, err := readProfile(getenv("AWS_SHARED_CREDENTIALS_FILE"), home, "credentials", profile)
	if err != nil {
		return c, err
	}
	section := profile
	if profile != "default" {
		section = "profile " + profile
	}
	settings, err := readProfile(getenv("AWS_CONFIG_FILE"), home, "config", section)
	if err != nil {
		return c, err
	}
	said := func(key string) string { return cmp.Or(credentials[key], settings[key]) }
	if c.AccessKey == "" {
		c.AccessKey, c.SecretKey, c.SessionToken = said("aws_access_key_id"), said("aws_secret_access_key"), said("aws_session_token")
	}
	if c.AccessKey == "" && getenv("AWS_PROFILE") != "" {
		return c, fmt.Errorf("AWS_PROFILE: the profile %s has no aws_access_key_id in the files of the AWS tools", profile)
	}
	c.Region = cmp.Or(c.Region, said("region"), "us-east-1")
	c.Endpoint = cmp.Or(c.Endpoint, said("endpoint_url"))
	if u, err := url.Parse(c.Endpoint); c.Endpoint != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "") {
		return c, fmt.Errorf("the endpoint %q (AWS_ENDPOINT_URL) is not an address such as https://minio.example", c.Endpoint)
	}
	c.Endpoint = strings.TrimRight(c.Endpoint, "/")
	return c, nil
}

// readProfile reads one section of a file of the AWS tools: path, or the file of
// that name below home, which may not be there.
func readProfile(path, home, name, section string) (map[string]string, error) {
	named := path != ""
	if !named {
		if home == "" {
			return nil, nil
		}
		path = filepath.Join(home, ".aws", name)
	}
	text, err := regular.Read(path, 1<<20)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the store's credentials: %w", err)
	}
	values, within := map[string]string{}, false
	for lines := bufio.NewScanner(strings.NewReader(string(text))); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") {
			within = strings.TrimSpace(strings.Trim(line, "[]")) == section
			continue
		}
		// What is indented belongs to a setting that has several.
		key, value, ok := strings.Cut(line, "=")
		if within && ok && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, ";") && strings.TrimLeft(lines.Text(), " \t") == lines.Text() {
			values[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return values, nil
}
