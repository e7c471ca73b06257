// Package curl reads the command lines of curl, as people and browsers ("Copy as
// cURL") write them: which request one would send. It runs nothing.
package curl

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Request is what a command line would send.
type Request struct {
	Method string
	URL    string
	Header http.Header
	Body   string
}

// reader is a command line that is being read.
type reader struct {
	Request

	inQuery bool // data goes into the address
}

// withValue are the options that take a value, and what they are for; those that are
// for nothing here are passed over.
var withValue = map[string]string{
	"-X": "method", "--request": "method",
	"-H": "header", "--header": "header",
	"-A": "User-Agent", "--user-agent": "User-Agent",
	"-e": "Referer", "--referer": "Referer",
	"-b": "Cookie", "--cookie": "Cookie",
	"-u": "user", "--user": "user",
	"--oauth2-bearer": "bearer",
	"-d":              "data", "--data": "data", "--data-ascii": "data", "--data-raw": "raw data", "--data-binary": "data", "--data-urlencode": "data",
	"--json": "json",
	"--url":  "url",
	"-o":     "", "--output": "", "-m": "", "--max-time": "", "--connect-timeout": "", "--resolve": "", "--connect-to": "", "--cacert": "",
	"-w": "", "--write-out": "", "-x": "", "--proxy": "", "--max-redirs": "", "--retry": "", "-c": "", "--cookie-jar": "",
}

// without are the options that take no value.
var without = map[string]bool{
	"-s": true, "--silent": true, "-S": true, "--show-error": true, "-k": true, "--insecure": true, "-L": true, "--location": true,
	"-i": true, "--include": true, "-v": true, "--verbose": true, "-f": true, "--fail": true, "-g": true, "--globoff": true,
	"--compressed": true, "--http1.1": true, "--http2": true, "--http3": true, "--path-as-is": true, "-N": true, "--no-buffer": true,
	"-#": true, "-0": true, "--http1.0": true, "--tlsv1.2": true, "--tlsv1.3": true,
}

// Parse reads a command line. An error says which part of it can't be read, and shows
// no value, for it may be a secret.
func Parse(line string) (Request, error) {
	words, err := split(line)
	if err != nil {
		return Request{}, err
	}
	if len(words) == 0 || words[0] != "curl" {
		return Request{}, errors.New("this is no command line of curl: it begins otherwise")
	}
	words = words[1:]
	r := reader{Request: Request{Header: make(http.Header)}}
	for len(words) > 0 {
		if words, err = r.take(words); err != nil {
			return Request{}, err
		}
	}
	switch {
	case r.URL == "":
		return Request{}, errors.New("no address in the command line")
	case !strings.Contains(r.URL, "://"):
		r.URL = "http://" + r.URL // as curl does
	}
	if r.inQuery && r.Body != "" { // -G
		separator := "?"
		if strings.Contains(r.URL, "?") {
			separator = "&"
		}
		r.URL, r.Body = r.URL+separator+r.Body, ""
		r.Header.Del("Content-Type")
	}
	if r.Method == "" {
		r.Method = http.MethodGet
		if r.Body != "" {
			r.Method = http.MethodPost
		}
	}
	return r.Request, nil
}

// take reads the first word, and its value if it has one, and returns the rest.
func (r *reader) take(words []string) ([]string, error) {
	word, rest := words[0], words[1:]
	if !strings.HasPrefix(word, "-") || word == "-" {
		if r.URL != "" {
			return nil, errors.New("two addresses in the command line; one request can be explained at a time")
		}
		r.URL = word
		return rest, nil
	}
	switch {
	case without[word]:
		return rest, nil
	case word == "-G" || word == "--get":
		r.inQuery = true
		return rest, nil
	case word == "-I" || word == "--head":
		r.Method = http.MethodHead
		return rest, nil
	}
	use, known := withValue[word]
	if !known && !strings.HasPrefix(word, "--") && len(word) > 2 { // -XPOST, -sSk
		if _, valued := withValue[word[:2]]; valued {
			return append([]string{word[:2], word[2:]}, rest...), nil
		}
		return append([]string{word[:2], "-" + word[2:]}, rest...), nil
	}
	if !known {
		return nil, fmt.Errorf("curl's option '%s' is not known here; leave it out", word)
	}
	if len(rest) == 0 {
		return nil, fmt.Errorf("curl's option '%s' needs a value", word)
	}
	return rest[1:], r.set(use, word, rest[0])
}

func (r *reader) set(use, option, value string) error {
	switch use {
	case "":
	case "method":
		r.Method = value
	case "url":
		r.URL = value
	case "header":
		name, content, ok := strings.Cut(value, ":")
		if !ok {
			return fmt.Errorf("the value of '%s' is no header; 'Name: value' is needed", option)
		}
		r.Header.Add(strings.TrimSpace(name), strings.TrimSpace(content))
	case "user":
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(value)))
	case "bearer":
		r.Header.Set("Authorization", "Bearer "+value)
	case "Cookie":
		if !strings.Contains(value, "=") {
			return fmt.Errorf("'%s' names a file; give the cookies themselves", option)
		}
		r.Header.Add(use, value)
	case "data", "raw data", "json":
		if use != "raw data" && strings.HasPrefix(value, "@") {
			return fmt.Errorf("'%s' names a file; give the data itself, or leave it out", option)
		}
		kind := "application/x-www-form-urlencoded"
		if use == "json" {
			kind = "application/json"
		}
		if r.Header.Get("Content-Type") == "" {
			r.Header.Set("Content-Type", kind)
		}
		if r.Body != "" {
			r.Body += "&"
		}
		r.Body += value
	default: // a header of its own
		r.Header.Set(use, value)
	}
	return nil
}
