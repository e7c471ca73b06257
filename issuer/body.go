package issuer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/edgeauth/caddy-edgeauth/identity"
)

// maxBody is how much of a request's body is read, in bytes.
const maxBody = 64 << 10

// form is what a client filled in. It gathers what is wrong with its fields, in
// the words of Django REST framework.
type form struct {
	values map[string]any
	wrong  map[string][]string
}

// readForm reads a body of JSON or a form, as its Content-Type says. An empty
// body is an empty form, whatever the type.
func readForm(r *http.Request) (*form, error) {
	data, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, invalid(detail("The body can't be read."))
	}
	if len(data) > maxBody {
		// 413 would be more exact; clients of Django know 400, as for all bad bodies.
		return nil, invalid(detail(fmt.Sprintf("The body is larger than %d bytes.", maxBody)))
	}
	f := &form{values: make(map[string]any), wrong: make(map[string][]string)}
	if len(data) == 0 {
		return f, nil
	}
	given := r.Header.Get("Content-Type")
	kind, params, err := mime.ParseMediaType(given)
	if charset := strings.ToLower(params["charset"]); err == nil && strings.HasPrefix(charset, "utf-16") || strings.HasPrefix(charset, "utf-32") {
		kind = ""
	}
	switch kind {
	case "application/json":
		return f, f.readJSON(data)
	case "application/x-www-form-urlencoded":
		return f, f.readPairs(string(data))
	case "multipart/form-data":
		return f, f.readParts(data, params["boundary"])
	}
	return nil, &refusal{status: http.StatusUnsupportedMediaType, body: detail(fmt.Sprintf("Unsupported media type %q in request.", given))}
}

func (f *form) readJSON(data []byte) error {
	value, err := identity.ParseJSON(data)
	if err != nil {
		return invalid(detail("JSON parse error - " + err.Error()))
	}
	values, ok := value.(map[string]any)
	if !ok {
		return invalid(nonField("Invalid data. Expected a dictionary, but got " + pythonType(value) + "."))
	}
	f.values = values
	return nil
}

// pythonType is what Python calls a value of JSON, as clients of Django know it.
func pythonType(value any) string {
	switch v := value.(type) {
	case []any:
		return "list"
	case string:
		return "str"
	case bool:
		return "bool"
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			return "float"
		}
		return "int"
	}
	return "NoneType"
}

// readPairs reads an encoded form. What is not encoded as it should be stays as it
// is.
func (f *form) readPairs(data string) error {
	for pair := range strings.SplitSeq(data, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if err := f.give(decoded(name), decoded(value)); err != nil {
			return err
		}
	}
	return nil
}

// give fills a field in. One that stands twice would mean one thing here, and
// another to whoever reads the same request elsewhere (RFC 6749, section 3.2).
func (f *form) give(name, value string) error {
	if _, given := f.values[name]; given {
		return invalid(detail("A field stands twice in the form."))
	}
	f.values[name] = value
	return nil
}

func decoded(text string) string {
	plain, err := url.QueryUnescape(text)
	if err != nil {
		return text
	}
	return plain
}

func (f *form) readParts(data []byte, boundary string) error {
	reader := multipart.NewReader(bytes.NewReader(data), boundary)
	for {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var value []byte
		if err == nil {
			value, err = io.ReadAll(part)
		}
		if err != nil {
			return invalid(detail("Multipart form parse error - it is not as its boundary says"))
		}
		if part.FileName() != "" {
			continue
		}
		if err := f.give(part.FormName(), string(value)); err != nil {
			return err
		}
	}
}

// text returns a field that must be filled in. Numbers count as text, as they
// are written. Blanks around it count unless they are trimmed.
func (f *form) text(name string, trim bool) string {
	value, given := f.values[name]
	var text string
	switch v := value.(type) {
	case string:
		text = v
	case json.Number:
		text = v.String()
	}
	if trim {
		text = strings.TrimFunc(text, isSpace)
	}
	_, isText := value.(string)
	_, isNumber := value.(json.Number)
	switch {
	case !given:
		f.complain(name, "This field is required.")
	case value == nil:
		f.complain(name, "This field may not be null.")
	case !isText && !isNumber, !utf8.ValidString(text), strings.ContainsRune(text, utf8.RuneError):
		f.complain(name, "Not a valid string.")
	case text == "":
		f.complain(name, "This field may not be blank.")
	case strings.ContainsRune(text, 0):
		f.complain(name, "Null characters are not allowed.")
	default:
		return text
	}
	return ""
}

// optional returns a field that may be missing: a text, or a number as it is
// written; else empty.
func (f *form) optional(name string) string {
	switch v := f.values[name].(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

// isSpace is what Python strips.
func isSpace(c rune) bool { return unicode.IsSpace(c) || '\x1c' <= c && c <= '\x1f' }

func (f *form) complain(name, text string) { f.wrong[name] = append(f.wrong[name], text) }

// check tells what is wrong with the fields that were asked for, if anything.
func (f *form) check() error {
	if len(f.wrong) > 0 {
		return invalid(f.wrong)
	}
	return nil
}
