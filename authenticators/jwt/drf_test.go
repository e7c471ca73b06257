package jwt

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
)

// transcript is a request that a real Django REST framework was sent, and what
// it answered.
type transcript struct {
	N               int
	Name            string
	Variant         string
	At              float64
	Path            string
	Headers         [][2]string
	Status          int
	Body            json.RawMessage
	Needs           string
	StatusOfGateway []int `json:"status_of_a_gateway"`
}

// settings are those of the Djangos, by variant, in our words.
var settings = map[string]string{
	"base": `key HS256 oracle-secret-key-0123456789abcdefghijklmnopqrstuvwxyz
		max_lifetime 1000000h`,
	"strict": `key HS512 strict-signing-key-kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk
		audience api
		issuer https://issuer.example.com
		user sub
		token_type_claim typ
		jti_claim tid
		leeway 10s
		header X-Access-Token JWT Bearer`,
}

// others are the transcripts where our answer is another, and why.
var others = map[int]string{
	163: "Django answers 500 as it looks for a user 'alice' among numbers; without its users we take any name, as in 164",
	428: "Django takes a text of digits for a time; RFC 7519 does not",
}

func TestJ77AnswersAreThoseOfRealSimpleJWT(t *testing.T) {
	t.Parallel()
	file, err := os.Open("testdata/drf/transcripts.jsonl")
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	judged := 0
	for lines.Scan() {
		var c transcript
		require.NoError(t, json.Unmarshal(lines.Bytes(), &c))
		config, known := settings[c.Variant]
		if !known || c.Needs != "" || others[c.N] != "" {
			continue
		}
		judged++
		t.Run(fmt.Sprintf("%d %s", c.N, c.Name), func(t *testing.T) {
			t.Parallel()
			a := ready(t, "jwt {\n preset simplejwt\n "+config+"\n}")
			whole, fraction := math.Modf(c.At)
			a.now = func() time.Time { return time.Unix(int64(whole), int64(fraction*1e9)) }
			who, err := replay(t, a, c)
			c.judge(t, who, err)
		})
	}
	require.NoError(t, lines.Err())
	assert.Equal(t, 69, judged)
}

func replay(t *testing.T, a *Authenticator, c transcript) (*identity.Identity, error) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	for _, header := range c.Headers {
		name := http.CanonicalHeaderKey(header[0])
		r.Header[name] = append(r.Header[name], header[1])
	}
	found, err := a.Find(r)
	if err != nil {
		return nil, err
	}
	return a.Verify(t.Context(), found)
}

// judge holds what became of a request to what is wanted.
func (c transcript) judge(t *testing.T, who *identity.Identity, err error) {
	t.Helper()
	rejected, isRejected := errors.AsType[*authenticators.RejectedError](err)
	status := http.StatusOK
	if err != nil {
		require.True(t, isRejected || errors.Is(err, authenticators.ErrNoCredential), "%v", err)
		status = http.StatusUnauthorized
	}
	if c.StatusOfGateway != nil {
		assert.Contains(t, c.StatusOfGateway, status, "%v", err)
		return
	}
	require.Equal(t, c.Status, status, "%v", err)
	var body struct {
		ID       json.RawMessage
		Username string
		Detail   string
		Code     string
		Messages []authenticators.Message
	}
	require.NoError(t, json.Unmarshal(c.Body, &body))
	switch {
	case err == nil:
		assert.Contains(t, []string{strings.Trim(string(body.ID), `"`), body.Username}, who.ID)
	case isRejected:
		assert.Equal(t, body.Detail, rejected.Detail)
		assert.Equal(t, body.Code, rejected.Code)
		assert.Equal(t, body.Messages, rejected.Messages)
	default:
		assert.Equal(t, "Authentication credentials were not provided.", body.Detail)
	}
}
