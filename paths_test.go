package edgeauth

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// The rows P05 to P11 of the attack catalogue, byte by byte.
func TestP05PathThatCanBeReadInTwoWaysIsAmbiguous(t *testing.T) {
	t.Parallel()
	parse := func(text string) *url.URL {
		u, err := url.ParseRequestURI(text)
		require.NoError(t, err, text)
		return u
	}
	for _, plain := range []string{
		"/", "/a", "/a/", "/a/b.c/d", "/.well-known/x", "/a.b/", "/..a/b", "/a%20b", "/%61", "/a:b@c!$&'()*+,=~_-", "/%C3%A9", "/a?x=/../;%2f%00//", "/a%2bb", "/%7Ealice",
	} {
		assert.False(t, ambiguous(parse(plain)), plain)
	}
	for _, path := range []string{
		"//", "//a", "/a//b", "/a//", "/.", "/..", "/a/.", "/a/..", "/./a", "/../a", "/a/./b", "/a/../b", "/%2e", "/a/%2E%2e/b", "/...", "/a./b", "/a.", "/a%20", "/a%20/b", "/%20",
		"/a;b", "/a%3bb", `/a\b`, "/a%5cb", "/a%2fb", "/a%2Fb", "/%2f", "/a%25", "/%252e", "/a%3fb", "/a%23b", "/a#b", "/%00", "/a%09", "/a%0ab", "/a%1f", "/a%7fb", "/%ff", "/a%c0%af", "/%ed%a0%80",
	} {
		assert.True(t, ambiguous(parse(path)), path)
	}
	for _, path := range []string{"", "*", "a", "a/b"} {
		assert.True(t, ambiguous(&url.URL{Path: path}), path)
	}
}

func TestP05MatchersThatMayLookAtThePathAreKnown(t *testing.T) {
	t.Parallel()
	sets := func(matchers ...any) caddyhttp.MatcherSets { return caddyhttp.MatcherSets{matchers} }
	for _, blind := range []caddyhttp.MatcherSets{
		nil, sets(), sets(&caddyhttp.MatchPath{"*"}), sets(&caddyhttp.MatchHost{"a"}, &caddyhttp.MatchMethod{"GET"}), sets(&MatchIdentity{}),
		sets(&caddyhttp.MatchNot{MatcherSets: sets(&caddyhttp.MatchHeader{"A": nil})}),
	} {
		assert.False(t, looksAtPath(blind), "%v", blind)
	}
	for _, looking := range []caddyhttp.MatcherSets{
		sets(&caddyhttp.MatchPath{"/a/*"}), sets(&caddyhttp.MatchPath{"*", "/a"}), sets(&caddyhttp.MatchHost{"a"}, &caddyhttp.MatchPathRE{}), sets(&caddyhttp.MatchExpression{}),
		sets(&caddyhttp.MatchNot{MatcherSets: sets(&caddyhttp.MatchPath{"/a"})}), sets(&caddyhttp.VarsMatcher{}), sets("another's"),
		{nil, {&caddyhttp.MatchPath{"/a"}}},
	} {
		assert.True(t, looksAtPath(looking), "%v", looking)
	}
}
