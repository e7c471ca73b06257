package authenticators

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	type holder struct{ S Secret }
	s := Secret("hunter2")
	for _, text := range []string{
		fmt.Sprint(s), fmt.Sprintf("%s %q %v %+v %#v %d %x %X", s, s, s, s, s, s, s, s), fmt.Sprintf("%+v %#v", holder{s}, &holder{s}),
		fmt.Sprint(fmt.Errorf("oh: %v", s)), s.String(), // which a panic prints
	} {
		assert.NotContains(t, text, "hunter2")
		assert.NotContains(t, text, "68756e74")
	}
	data, err := json.Marshal(map[string]any{"a": s, "b": holder{s}})
	require.NoError(t, err)
	assert.NotContains(t, string(data), "hunter2")
	assert.Equal(t, "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7", s.Digest())
}

func TestRejectionNeverTurnsIntoAnotherOutcome(t *testing.T) {
	t.Parallel()
	err := error(&RejectedError{Code: "x", Cause: ErrNoCredential})
	require.NotErrorIs(t, err, ErrNoCredential)
	require.ErrorIs(t, ErrAmbiguous, ErrNoCredential)
}

func TestC00C01C02C04C07CredentialInAHeader(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lines []string
		want  string
		err   error
	}{
		"good":             {[]string{"Token abc"}, "abc", nil},
		"C03 any case":     {[]string{"tOKEN abc"}, "abc", nil},
		"blanks":           {[]string{"  Token   abc  "}, "abc", nil},
		"tab":              {[]string{"Token \tabc"}, "", ErrCharacters},
		"missing":          {nil, "", ErrNoCredential},
		"empty":            {[]string{""}, "", ErrNoCredential},
		"another scheme":   {[]string{"Bearer abc"}, "", ErrNoCredential},
		"scheme runs on":   {[]string{"Tokenabc"}, "", ErrNoCredential},
		"alone":            {[]string{"Token"}, "", ErrNoValue},
		"alone with blank": {[]string{"Token "}, "", ErrNoValue},
		"two values":       {[]string{"Token a b"}, "", ErrSpaces},
		"joined":           {[]string{"Token a, Bearer b"}, "", ErrSpaces},
		"twice":            {[]string{"Token a", "Token a"}, "", ErrTwoHeaders},
		"twice, one empty": {[]string{"", "Token a"}, "", ErrTwoHeaders},
		"not ASCII":        {[]string{"Token é"}, "", ErrCharacters},
		"hard space":       {[]string{"Token a\u00a0b"}, "", ErrCharacters},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header["Authorization"] = c.lines
			if c.lines == nil {
				delete(r.Header, "Authorization")
			}
			got, err := FromHeader(r, "authorization", "Token")
			require.ErrorIs(t, err, c.err)
			assert.Equal(t, c.want, got.Reveal())
		})
	}
}

func TestC19C20C30C31C33C36Cookies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lines []string
		want  string
		err   error
	}{
		"one":                                {[]string{"a=1; sid=x; b=2"}, "x", nil},
		"raw":                                {[]string{`sid="x%20é\"`}, `"x%20é\"`, nil},
		"C31 same twice":                     {[]string{"sid=x; sid=x", "sid=x"}, "x", nil},
		"C30 two values":                     {[]string{"sid=x; sid=y"}, "", ErrAmbiguous},
		"C30 two values reversed":            {[]string{"sid=y; sid=x"}, "", ErrAmbiguous},
		"C30 two lines":                      {[]string{"sid=x", "sid=y"}, "", ErrAmbiguous},
		"C30 one of them none":               {[]string{"sid=; sid=y"}, "", ErrAmbiguous},
		"C33 without = as Werkzeug reads it": {[]string{"sid; sid=y"}, "", ErrAmbiguous},
		"C33 missing":                        {[]string{"SID=x; sid2=y; =sid; sid"}, "", ErrNoCredential},
		"C33 nameless":                       {[]string{"=sid=x"}, "", ErrNoCredential},
		"C33 prefix":                         {[]string{"__Host-sid=y; sid=x"}, "x", nil},
		"C36 blanks":                         {[]string{" sid = x "}, "x", nil},
		"C36 tabs":                           {[]string{"\tsid\t=\tx\t;a"}, "x", nil},
		"C36 white space as Django trims it": {[]string{"sid=x; \u2000sid=y"}, "", ErrAmbiguous},
		"C36 no-break space after the name":  {[]string{"sid\xa0=y; sid=x"}, "", ErrAmbiguous},
		"C36 white space, one value":         {[]string{"\u00a0sid=x; sid=x"}, "x", nil},
		"C36 only with white space":          {[]string{"\u00a0sid=x"}, "", ErrNoCredential},
		"C36 comma":                          {[]string{"a=1, sid=x"}, "", ErrNoCredential},
		"C36 version":                        {[]string{"$Version=1; sid=x; $Path=/"}, "x", nil},
		"C44 = inside":                       {[]string{"sid=x=y=="}, "x=y==", nil},
		"empty":                              {[]string{"sid="}, "", ErrNoCredential},
		"no cookie":                          {nil, "", ErrNoCredential},
		"C19 rubbish":                        {[]string{";", "=", ";;", "=;=", "a", strings.Repeat(";", 4096)}, "", ErrNoCredential},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header["Cookie"] = c.lines
			got, err := FromCookie(r, "sid")
			require.ErrorIs(t, err, c.err)
			assert.Equal(t, c.want, got.Reveal())
		})
	}
}

func TestRemovedCookieLeavesTheOthers(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header["Cookie"] = []string{"a=1; sid=x; b=2", "sid=y", "c=3"}
	RemoveCookies(r, []string{"sid"})
	assert.Equal(t, []string{"a=1; b=2", "c=3"}, r.Header["Cookie"])
	RemoveCookies(r, []string{"a"})
	RemoveCookies(r, []string{"b"})
	RemoveCookies(r, []string{"c"})
	assert.NotContains(t, r.Header, "Cookie")
}

func TestQueryCredentialIsTakenEachTimeItIsFound(t *testing.T) {
	t.Parallel()
	names := []string{"token"}
	ctx, rest, found := TakeFromQuery(t.Context(), "a=1&token=x&b", names)
	require.True(t, found)
	assert.Equal(t, "a=1&b", rest)
	// A rewrite on the way may have put it back.
	ctx, rest, found = TakeFromQuery(ctx, "token=x", names)
	require.True(t, found)
	assert.Empty(t, rest)
	_, rest, found = TakeFromQuery(ctx, "a=1", names)
	assert.False(t, found)
	assert.Equal(t, "a=1", rest)
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	_, err := FromQuery(r, "token")
	require.ErrorIs(t, err, ErrTwoValues)
}
