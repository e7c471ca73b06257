package differential

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/authenticators/basic"
	"github.com/edgeauth/caddy-edgeauth/authenticators/token"
	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
)

// headerCase is what Authorization says.
type headerCase struct {
	header string
	basic  bool
}

// headerTokens are whose the tokens are.
var headerTokens = map[string]string{
	"9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b": "alice", "0000000000000000000000000000000000000001": "bob", "a": "carol", "Zoë": "zoë", "a,b=c": "dave",
}

func TestWhatRESTFrameworkTakesOutOfAuthorizationIsTakenOut(t *testing.T) {
	t.Parallel()
	host := guesttest.NewHost()
	for text, user := range headerTokens {
		require.NoError(t, host.Others.Put(t.Context(), "tokens:"+authenticators.Secret(text).Digest(), []byte(`{"user":"`+user+`"}`), 0))
	}
	tokens, pairs := new(token.Authenticator), new(basic.Authenticator)
	require.NoError(t, guesttest.Load(t, host, tokens, "token {\n key tokens:{sha256}\n}"))
	require.NoError(t, guesttest.Load(t, host, pairs, "basic"))
	trial[headerCase]{
		name:   "Authorization and REST framework",
		cases:  share(t, 10),
		make:   makeHeader,
		theirs: startPython(t, "drf", map[string]any{"tokens": headerTokens}),
		ask: func(c headerCase) any {
			// net/http takes off the blanks around a value.
			return map[string]any{"header": latin1(strings.Trim(c.header, " \t")), "basic": c.basic}
		},
		ours: func(c headerCase) answer {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = "127.0.0.1:1" // else it is warned of passwords in clear
			r.Header["Authorization"] = []string{c.header}
			if !c.basic {
				return authenticate(t, tokens, r)
			}
			// The hash of a password takes long, on purpose: what was read is compared.
			found, err := pairs.Find(r)
			if err != nil {
				return nobody(err)
			}
			return somebody(found.Value.Reveal())
		},
		reasons: []reason[headerCase]{
			{"a control character, or one that is no ASCII", func(c headerCase) bool {
				return strings.ContainsFunc(strings.Trim(c.header, " \t"), func(r rune) bool { return r < ' ' || r > '~' })
			}},
			{"base64 that is not canonical", func(c headerCase) bool {
				_, value, _ := strings.Cut(strings.Trim(c.header, " "), " ")
				value = strings.Trim(value, " ")
				data, err := base64.StdEncoding.DecodeString(value)
				return c.basic && (err != nil || base64.StdEncoding.EncodeToString(data) != value)
			}},
			{"a pair that is no UTF-8", func(c headerCase) bool { return c.basic && !utf8.Valid(pairOf(c)) }},
			{"a name without a colon", func(c headerCase) bool { return c.basic && !slices.Contains(pairOf(c), ':') }},
		},
	}.run(t)
}

func pairOf(c headerCase) []byte {
	words := strings.FieldsFunc(c.header, unicode.IsSpace)
	data, _ := base64.StdEncoding.DecodeString(words[len(words)-1])
	return data
}

func makeHeader(random *rand.Rand) headerCase {
	texts := []string{"9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b", "0000000000000000000000000000000000000001", "a", "Zoë", "a,b=c"}
	if random.IntN(2) == 0 {
		scheme := of(random, "Token", "Token", "Token", "token", "TOKEN", "Bearer", "Tokenx", "Tok\u00e9n", "")
		value := of(random, texts...)
		if random.IntN(2) == 0 {
			value = spoil(random, value)
		}
		header := scheme + of(random, " ", " ", " ", "  ", "\t", "", "\u00a0", "\x0b", ",") + value + of(random, "", "", "", " ", " x", ", Token a", "\x00", "\x85")
		if random.IntN(4) == 0 {
			header = spoil(random, header)
		}
		return headerCase{header: header}
	}
	pair := of(random, "alice", "Zoë", "", "a b", "alice\x00", "\xff") + of(random, ":", ":", ":", "", "::") + of(random, "wonderland", "", "p:w", "pässword", "\xe4", "a\nb", strings.Repeat("x", 400))
	encoded := base64.StdEncoding.EncodeToString([]byte(pair))
	switch random.IntN(6) {
	case 0:
		encoded = base64.RawURLEncoding.EncodeToString([]byte(pair))
	case 1:
		encoded = spoil(random, encoded)
	case 2: // bits that nothing uses
		if i := strings.IndexByte(encoded, '='); i > 0 {
			encoded = encoded[:i-1] + string(encoded[i-1]+1) + encoded[i:]
		}
	}
	header := fmt.Sprint(of(random, "Basic", "Basic", "basic", "BASIC", "Basicx", "Negotiate"), of(random, " ", " ", "  ", "\t", ""), encoded, of(random, "", "", "", " ", " x", ","))
	if random.IntN(8) == 0 {
		header = spoil(random, header)
	}
	return headerCase{header, true}
}
