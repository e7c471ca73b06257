package redis

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
	"github.com/edgeauth/caddy-edgeauth/store"
)

func TestD14DangersAreTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"safe":               {[]string{"--appendonly", "yes"}, nil},
		"dumps now and then": {[]string{"--save", "3600 1"}, nil},
		"evicts":             {[]string{"--appendonly", "yes", "--maxmemory-policy", "allkeys-lru"}, []string{"maxmemory-policy allkeys-lru"}},
		"evicts, no disk":    {[]string{"--maxmemory-policy", "volatile-ttl"}, []string{"maxmemory-policy volatile-ttl", "keeps nothing on disk"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, c.args...)
			s := open(t, &Config{URL: server.URL(), Timeout: caddy.Duration(5 * time.Second)})
			advice, err := s.Advise(t.Context())
			require.NoError(t, err)
			require.Len(t, advice, len(c.want), "%v", advice)
			for i, want := range c.want {
				assert.Contains(t, advice[i], want)
			}
			server.Kill()
			_, err = s.Advise(context.Background())
			require.Error(t, err, "unknown is not safe")
		})
	}
}

// aclOfTheDocs is the rule that docs/reference/global-options.md gives.
func aclOfTheDocs(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/reference/global-options.md")
	require.NoError(t, err)
	rule := regexp.MustCompile(`(?m)^ACL SETUSER .*$`).FindString(string(text))
	require.NotEmpty(t, rule)
	return strings.Fields(rule)
}

// The rights that the docs list are all that is needed: the whole contract of
// stores holds with them.
func TestD17LeastRightsSuffice(t *testing.T) { //nolint:tparallel // the contract's part first
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes")
	server.Do(t, append(aclOfTheDocs(t), "%R~sess:*", "+hstrlen", "+hmget")...)
	limited := Config{URL: server.URL(), Username: "edge_auth", Password: "password", Prefix: "edge_auth:", Timeout: caddy.Duration(5 * time.Second)}
	server.Do(t, "ACL", "LOG", "RESET")
	t.Run("contract", func(t *testing.T) { contract(t, server, limited) }) //nolint:paralleltest // what follows looks at the log
	s := open(t, &limited)
	advice, err := s.Advise(t.Context())
	require.NoError(t, err)
	assert.Empty(t, advice)
	server.Do(t, "SET", "sess:1", "mine")
	server.Do(t, "HSET", "sess:2", "a", "1")
	server.Do(t, "SET", "other:1", "secret")
	_, err = s.Foreign().Get(t.Context(), "sess:1")
	require.NoError(t, err)
	fields, _, err := s.Foreign().Fields(t.Context(), "sess:2", "a")
	require.NoError(t, err)
	assert.Equal(t, "1", string(fields["a"]))
	assert.Empty(t, server.Do(t, "ACL", "LOG"), "nothing was refused so far")
	_, err = s.Foreign().Get(t.Context(), "other:1")
	require.Error(t, err)
	require.NotErrorIs(t, err, store.ErrNotFound, "what is forbidden is not absent")
	require.Error(t, s.Foreign().Extend(t.Context(), "sess:1", time.Minute), "read-only")
}
