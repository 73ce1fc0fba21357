package jinja

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

var (
	httpURL = regexp.MustCompile(`(?i)^((https?://|www\.)(([\pL\pN_%-]+\.)+)?([a-z]{2,63}|xn--[\pL\pN_%]{2,59})` +
		`|([\pL\pN_%-]{2,63}\.)+(com|net|int|edu|gov|org|info|mil)` +
		`|(https?://)((([\d]{1,3})(\.[\d]{1,3}){3})|(\[([\da-f]{0,4}:){2}([\da-f]{0,4}:?){1,6}])))` +
		`(?::[\d]{1,5})?(?:[/?#]\S*)?$`)
	emailAddress = regexp.MustCompile(`^\S+@[\pL\pN_][\pL\pN_.-]*\.[\pL\pN_]+$`)
	urlHead      = regexp.MustCompile(`^([(<]|&lt;)+`)
	urlTail      = regexp.MustCompile(`([)>.,\n]|&gt;)+$`)
	uriScheme    = regexp.MustCompile(`^([\pL\pN_.+-]{2,}:(/){0,2})$`)
)

// urlize makes links of what looks like a URL or an email address.
func urlize(r *rendering, a []Value) Value {
	l := &linker{r: r, limit: -1}
	if a[1] != nil && a[1] != None {
		l.limit = max(0, index(a[1]))
	}
	rel := map[string]bool{"noopener": true}
	if a[4] != nil && r.truth(a[4]) {
		for _, part := range r.fields(r.textArg("rel", a[4]), -1) {
			rel[part] = true
		}
	}
	if r.given(a[2]) {
		rel["nofollow"] = true
	}
	l.attributes = ` rel="` + string(r.escape(str(strings.Join(slices.Sorted(maps.Keys(rel)), " ")))) + `"`
	if a[3] != nil && r.truth(a[3]) {
		l.attributes += ` target="` + string(r.escape(a[3])) + `"`
	}
	if a[5] != nil && a[5] != None {
		for _, v := range r.collect(a[5]) {
			scheme := r.textArg("extra_schemes", v)
			if !uriScheme.MatchString(scheme) {
				raise("FilterArgumentError", "%s is not a valid URI scheme prefix.", reprString(scheme))
			}
			l.schemes = append(l.schemes, scheme)
		}
	}
	text := string(r.escape(a[0]))
	r.step(2 * len(text))
	var b strings.Builder
	for text != "" {
		end := strings.IndexFunc(text, isSpace)
		if end < 0 {
			end = len(text)
		}
		linked := l.word(text[:end])
		space := spaces(text[end:])
		r.hold(len(linked) + space)
		b.WriteString(linked + text[end:end+space])
		text = text[end+space:]
	}
	return str(b.String())
}

type linker struct {
	r          *rendering
	limit      int // of what is shown of a URL, or -1
	attributes string
	schemes    []string
}

func (l *linker) shown(url string) string {
	if l.limit >= 0 {
		if cut := runeOffset(url, l.limit); cut < len(url) {
			return url[:cut] + "..."
		}
	}
	return url
}

// word makes a link of a word, less the brackets and stops around it.
func (l *linker) word(word string) string {
	head := urlHead.FindString(word)
	middle := word[len(head):]
	tail := urlTail.FindString(middle)
	middle = middle[:len(middle)-len(tail)]
	for _, pair := range [][2]string{{"(", ")"}, {"<", ">"}, {"&lt;", "&gt;"}} {
		open := strings.Count(middle, pair[0])
		if open <= strings.Count(middle, pair[1]) {
			continue
		}
		for range min(open, strings.Count(tail, pair[1])) {
			l.r.step(1 + len(middle)/16)
			end := strings.Index(tail, pair[1]) + len(pair[1])
			middle += tail[:end]
			tail = tail[end:]
		}
	}
	return head + l.link(middle) + tail
}

func (l *linker) link(url string) string {
	anchor := func(href, shown, attributes string) string {
		return `<a href="` + href + `"` + attributes + `>` + shown + `</a>`
	}
	switch {
	case httpURL.MatchString(url):
		if strings.HasPrefix(url, "https://") || strings.HasPrefix(url, "http://") {
			return anchor(url, l.shown(url), l.attributes)
		}
		return anchor("https://"+url, l.shown(url), l.attributes)
	case strings.HasPrefix(url, "mailto:") && emailAddress.MatchString(url[7:]):
		return anchor(url, url[7:], "")
	case strings.Contains(url, "@") && !strings.HasPrefix(url, "www.") && !strings.HasPrefix(url, "@") &&
		!strings.Contains(url, ":") && emailAddress.MatchString(url):
		return anchor("mailto:"+url, url, "")
	}
	for _, scheme := range l.schemes {
		if url != scheme && strings.HasPrefix(url, scheme) {
			url = anchor(url, url, l.attributes)
		}
	}
	return url
}
