package issuer

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
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
)

// transcript is a request that a real Django REST framework was sent, and what
// it answered.
type transcript struct {
	N                    int
	Group, Name, Variant string
	At                   float64
	Method, Path, Body   string
	Headers              [][2]string
	Status               int
	Answer               any
	Challenge, Allow     string
	StatusOfGateway      []int `json:"status_of_a_gateway"`
}

// others are the transcripts where our answer is another, and why.
var others = map[int]string{
	206: "it ends what it says it ends",
	382: "the surrogate is named otherwise",
}

// stricter are the transcripts that we refuse, by status, and why.
var stricter = map[int]int{
	392: http.StatusBadRequest, // a field that stands twice means one thing to us, and another to whoever reads it otherwise
}

// settings are those of the Djangos, by variant.
func settings(variant string) *Issuer {
	i := &Issuer{JWT: &JWT{KeepRefresh: true}, Token: &Token{Single: true}, LoginRate: &Rate{Attempts: 1000, Window: defaultRate.Window}}
	if strings.HasPrefix(variant, "rot") {
		i.JWT.KeepRefresh = false
	}
	return i
}

func TestR01AnswersAreThoseOfRealSimpleJWT(t *testing.T) {
	t.Parallel()
	file, err := os.Open("testdata/drf/transcripts.jsonl")
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	issuers := make(map[string]*testIssuer)
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 4<<20)
	judged := 0
	for lines.Scan() {
		var c transcript
		require.NoError(t, json.Unmarshal(lines.Bytes(), &c))
		i := issuers[c.Variant]
		if i == nil {
			i = newTestIssuer(t, settings(c.Variant), djangoKey)
			issuers[c.Variant] = i
		}
		judged++
		whole, fraction := math.Modf(c.At)
		now := time.Unix(int64(whole), int64(fraction*1e9))
		if c.Variant == "rotbl" { // beyond the grace that a lost answer has
			now = now.Add(time.Duration(judged) * refreshGrace)
		}
		i.now = func() time.Time { return now }
		if c.Name == "blacklist it again" {
			c.send(t, i)
		}
		c.judge(t, c.send(t, i))
	}
	require.NoError(t, lines.Err())
	assert.Equal(t, 75, judged)
}

// djangoKey signs as that Django did.
var djangoKey = `{"kty":"oct","k":"` + base64.RawURLEncoding.EncodeToString([]byte("oracle-secret-key-0123456789abcdefghijklmnopqrstuvwxyz")) + `"}`

func (c transcript) send(t *testing.T, i *testIssuer) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), c.Method, c.Path, strings.NewReader(c.Body))
	for _, header := range c.Headers {
		r.Header.Add(header[0], header[1])
	}
	return i.serve(r)
}

// judge holds an answer to what is wanted: the status, the same complaints, and
// the same members where tokens are given.
func (c transcript) judge(t *testing.T, got *httptest.ResponseRecorder) {
	t.Helper()
	name := fmt.Sprintf("%d %s", c.N, c.Name)
	if status, ok := stricter[c.N]; ok {
		assert.Equal(t, status, got.Code, "%s: %s", name, got.Body)
		return
	}
	if c.StatusOfGateway != nil {
		assert.Contains(t, c.StatusOfGateway, got.Code, "%s: %s", name, got.Body)
		return
	}
	if !assert.Equal(t, c.Status, got.Code, "%s: %s", name, got.Body) || others[c.N] != "" {
		return
	}
	assert.Equal(t, c.Allow, got.Header().Get("Allow"), name)
	assert.Equal(t, c.Challenge, got.Header().Get("WWW-Authenticate"), name)
	assert.Equal(t, "no-store", got.Header().Get("Cache-Control"), name)
	if c.Method == http.MethodHead {
		return
	}
	var body any
	require.NoError(t, json.Unmarshal(got.Body.Bytes(), &body), "%s: %s", name, got.Body)
	assert.Equal(t, shape(c.Answer, c.Status), shape(body, c.Status), name)
}

// shape is a body without what can't be equal: tokens, and Python's words on JSON.
func shape(body any, status int) any {
	members, ok := body.(map[string]any)
	if !ok {
		return body
	}
	for name, value := range members {
		text, _ := value.(string)
		if status == http.StatusOK && text != "" || strings.HasPrefix(text, "JSON parse error - ") {
			members[name] = "…"
		}
	}
	return members
}
