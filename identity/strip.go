package identity

import (
	"io"
	"net/http"
	"strings"
)

// Strip removes from r the headers whose names are forbidden, in every spelling
// that forbidden knows, and their mention in Connection, which would make
// reverse_proxy drop the header that we set. It never touches another header.
func Strip(r *http.Request, forbidden func(name string) bool) {
	for name := range r.Header {
		if forbidden(name) {
			delete(r.Header, name) // not Del: the spelling need not be canonical
		}
	}
	if nominated := r.Header["Connection"]; len(nominated) > 0 {
		stripConnection(r.Header, nominated, forbidden)
	}
}

func stripConnection(h http.Header, nominated []string, forbidden func(name string) bool) {
	var kept []string
	for _, line := range nominated {
		for token := range strings.SplitSeq(line, ",") {
			if token = strings.Trim(token, " \t"); token != "" && !forbidden(token) {
				kept = append(kept, token)
			}
		}
	}
	if len(kept) == 0 {
		delete(h, "Connection")
		return
	}
	h["Connection"] = []string{strings.Join(kept, ", ")}
}

// StripTrailers drops the request's trailers but for those that allowed names,
// and never lets one of names by. net/http merges trailers in only at the end
// of the body, announced or not, long after any check of a header.
func StripTrailers(r *http.Request, allowed []string, names Names) {
	sent := r.Trailer
	r.Trailer = nil
	if len(sent) == 0 || len(allowed) == 0 || r.Body == nil {
		return
	}
	kept := make(http.Header)
	for _, name := range allowed {
		name = canonical(name)
		if _, announced := sent[name]; announced && !names.Has(name) {
			kept[name] = nil
		}
	}
	if len(kept) == 0 {
		return
	}
	r.Trailer = kept
	r.Body = &trailerBody{ReadCloser: r.Body, sent: sent, kept: kept}
}

// trailerBody fills in the allowed trailers when the body has been read, which
// is when the server knows them.
type trailerBody struct {
	io.ReadCloser
	sent, kept http.Header
}

func (b *trailerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF { //nolint:errorlint // io.Reader's contract: EOF itself
		for name := range b.kept {
			b.kept[name] = b.sent[name]
		}
	}
	return n, err
}
