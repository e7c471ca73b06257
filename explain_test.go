package edgeauth

import (
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What has no name, or no scheme, may be the secret itself.
func TestNamelessTextsAreHidden(t *testing.T) {
	t.Parallel()
	r := request()
	r.Header.Set("Authorization", "s3cr3t-api-key")
	r.Header.Set("Cookie", "s3cr3t-cookie; a=s3cr3t; b=1")
	r.Header.Set("X-Other", "s3cr3t")
	r.URL.RawQuery = "s3cr3t&x=s3cr3t"
	shown := shownRequest(r, r.URL)
	assert.Equal(t, "http://example.com/?=…&x=…", shown.URL)
	for _, h := range shown.Headers {
		assert.NotContains(t, h.Value, "s3cr3t", h.Name)
	}
	hint := new(Policy).hint(r)
	assert.NotContains(t, hint, "s3cr3t")
	assert.Contains(t, hint, "no scheme")
	assert.Contains(t, hint, "cookies that were sent: a, b")
}

// A refusal that is remembered keeps nothing of the request in memory but what it
// shows: a method is a part of the whole first line.
func TestRememberedRefusalsAreSmall(t *testing.T) { // not parallel: it measures the heap
	ring := new(explanations)
	before := heap()
	for range keptExplanations {
		line := strings.Repeat("x", 100_000)
		r := request()
		r.Method, r.Host = line[:3], line[:10]
		r.Header = http.Header{line[:5]: {line[:5]}, "Accept": {line[5:10]}}
		ring.add(&explanation{Request: shownRequest(r, r.URL), Cause: clipped(line[:20]), Time: time.Now()})
	}
	assert.Less(t, heap()-before, int64(8<<20), "of 100 MB that went through")
	assert.Nil(t, ring.find("none"))
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // far less
}

func TestExplanationsAreFoundUntilThereAreTooMany(t *testing.T) {
	t.Parallel()
	ring := new(explanations)
	for i := range keptExplanations + 1 {
		ring.add(&explanation{RequestID: strconv.Itoa(i)})
	}
	assert.Nil(t, ring.find("0"), "the oldest makes room")
	for i := range keptExplanations {
		require.NotNil(t, ring.find(strconv.Itoa(i+1)))
	}
}

func TestHeadersThatMayCarryASecretAreToldApart(t *testing.T) {
	t.Parallel()
	for value, reveals := range map[string]bool{
		"plain": true, "{http.auth.user.id}": true, "{http.auth.user.groups}, {http.auth.user.name}": true, "{http.auth.user.claims.tenant}": true,
		"{env.SECRET}": false, "{http.request.header.X-Key}": false, "{http.auth.user.id} {env.SECRET}": false, "{http.auth.user.claims.token}": false,
	} {
		h := IdentityHeader{Value: value}
		assert.Equal(t, reveals, h.reveals(func(claim string) bool { return claim == "tenant" }), value)
	}
}

func TestLoginPageIsToldApartByItsQuery(t *testing.T) {
	t.Parallel()
	p := &Policy{LoginURL: "/index.php?action=login"}
	for target, guards := range map[string]bool{
		"/index.php?action=login": true, "/index.php?next=%2F&action=login": true, "/index.php/?action=login": true,
		"/index.php?page=2": false, "/index.php": false, "/other?action=login": false, "/index.php?action=logout": false,
	} {
		r := request()
		u, err := r.URL.Parse(target)
		require.NoError(t, err)
		assert.Equal(t, guards, p.guardsLoginPage(r, u), target)
	}
}
