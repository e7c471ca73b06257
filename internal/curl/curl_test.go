package curl

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCommandLinesAreReadAsCurlReadsThem(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]Request{
		"curl https://a.example/": {Method: "GET", URL: "https://a.example/", Header: http.Header{}},
		"curl a.example/x":        {Method: "GET", URL: "http://a.example/x", Header: http.Header{}},
		"curl -G -d a=1 'https://a.example/?b=2' -d c=3": {
			Method: "GET", URL: "https://a.example/?b=2&a=1&c=3", Header: http.Header{},
		},
		"curl --data-raw @x https://a.example": {
			Method: "POST", URL: "https://a.example", Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, Body: "@x",
		},
		`curl -sSkL -XPUT 'https://a.example/?a=b c' -H "Authorization: Token \"x\"" -H X:y`: {
			Method: "PUT", URL: "https://a.example/?a=b c", Header: http.Header{"Authorization": {`Token "x"`}, "X": {"y"}},
		},
		"curl 'https://a.example/' \\\n  -H $'X-A: it\\'s' \\\r\n  -b 'a=1; b=2' --compressed": {
			Method: "GET", URL: "https://a.example/", Header: http.Header{"X-A": {"it's"}, "Cookie": {"a=1; b=2"}},
		},
		"curl -u alice:pw -I https://a.example": {Method: "HEAD", URL: "https://a.example", Header: http.Header{"Authorization": {"Basic YWxpY2U6cHc="}}},
		"curl --oauth2-bearer t -A '' https://a.example": {
			Method: "GET", URL: "https://a.example", Header: http.Header{"Authorization": {"Bearer t"}, "User-Agent": {""}},
		},
		"curl -d a=1 -d b=2 https://a.example": {
			Method: "POST", URL: "https://a.example", Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, Body: "a=1&b=2",
		},
		`curl --json '{"a":1}' --url https://a.example -X PATCH`: {
			Method: "PATCH", URL: "https://a.example", Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"a":1}`,
		},
	} {
		got, err := Parse(line)
		require.NoError(t, err, line)
		assert.Equal(t, want, got, line)
	}
}

func TestWhatCannotBeReadIsToldWithoutItsValue(t *testing.T) {
	t.Parallel()
	for line, says := range map[string]string{
		"":                                     "no command line of curl",
		"wget https://secret":                  "no command line of curl",
		"curl -s":                              "no address",
		"curl -H 'X: secret":                   "not closed",
		"curl --secret-option https://a":       "'--secret-option' is not known",
		"curl https://a https://b":             "two addresses",
		"curl https://a -H":                    "needs a value",
		"curl https://a -H secret":             "is no header",
		"curl https://a -b secret.txt":         "names a file",
		"curl https://a --data-binary @secret": "names a file",
	} {
		_, err := Parse(line)
		require.ErrorContains(t, err, says, line)
		if says != "'--secret-option' is not known" {
			assert.NotContains(t, err.Error(), "secret", line)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"curl https://a -H 'a: b'", "curl $'a\\'", `curl "a\`, "-XX", "-", "--", "\\\r\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if r, err := Parse(line); err == nil && (r.URL == "" || r.Method == "") {
			t.Fatalf("%q gives no request", line)
		}
	})
}
