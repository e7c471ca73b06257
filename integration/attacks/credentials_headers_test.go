package attacks

import (
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

const ownPolicy = "token\n jwt\n session"

// Credentials in headers, in each spelling that somebody might take for one.
func TestCredentialsInHeaders(t *testing.T) { //nolint:tparallel // the cases share a recorder
	t.Parallel()
	s := newCredentialSite(t, "", ownPolicy, "")
	s.own("alice", "bob")
	whole := base64.StdEncoding.EncodeToString([]byte("Bearer " + s.known["alice.jwt"]))
	bearer, token := "Authorization: Bearer ", "Authorization: Token "
	s.run(t, []credentialRow{
		{name: "C00 nothing at all", want: isAbsent},
		{name: "C00 baseline: a token", headers: []string{token + "{alice.token}"}, want: "alice"},
		{name: "C00 baseline: a JWT", headers: []string{bearer + "{alice.jwt}"}, want: "alice"},
		{name: "C01 bad and good", headers: []string{bearer + "bad", bearer + "{alice.jwt}"}, want: isRejected},
		{name: "C01 good and bad", headers: []string{bearer + "{alice.jwt}", bearer + "bad"}, want: isRejected},
		{name: "C01 two users", headers: []string{bearer + "{alice.jwt}", bearer + "{bob.jwt}"}, want: isRejected},
		{name: "C01 the same twice", headers: []string{bearer + "{alice.jwt}", bearer + "{alice.jwt}"}, want: isRejected},
		{name: "C01 two schemes", headers: []string{token + "{alice.token}", bearer + "{alice.jwt}"}, want: isRejected},
		{name: "C02 joined by a comma", headers: []string{bearer + "bad, Bearer {alice.jwt}"}, want: isRejected},
		{name: "C02 joined, good first", headers: []string{bearer + "{alice.jwt}, Bearer {bob.jwt}"}, want: isRejected},
		{name: "C02 joined, two schemes", headers: []string{token + "{alice.token}, Bearer {bob.jwt}"}, want: isRejected},
		{name: "C03 bearer", headers: []string{"Authorization: bearer {alice.jwt}"}, want: "alice"},
		{name: "C03 BEARER", headers: []string{"Authorization: BEARER {alice.jwt}"}, want: "alice"},
		{name: "C03 BeArEr", headers: []string{"Authorization: BeArEr {alice.jwt}"}, want: "alice"},
		{name: "C03 token", headers: []string{"Authorization: tOKEN {alice.token}"}, want: "alice"},
		{name: "C04 two blanks", headers: []string{bearer + " {alice.jwt}"}, want: "alice"},
		{name: "C04 two blanks, token", headers: []string{token + " {alice.token}"}, want: "alice"},
		{name: "C04 blank behind", headers: []string{bearer + "{alice.jwt} "}, want: "alice"},
		{name: "C04 blank behind, token", headers: []string{token + "{alice.token} "}, want: "alice"},
		{name: "C04 blank in front", headers: []string{"Authorization:  Bearer {alice.jwt}"}, want: "alice"},
		{name: "C04 tab", headers: []string{"Authorization: Bearer\t{alice.jwt}"}, want: isRejected},
		{name: "C04 tab, token", headers: []string{"Authorization: Token\t{alice.token}"}, want: isRejected},
		{name: "C04 nothing between", headers: []string{"Authorization: Bearer{alice.jwt}"}, want: isAbsent}, // another scheme
		{name: "C04 alone", headers: []string{"Authorization: Bearer"}, want: isRejected},
		{name: "C04 alone, token", headers: []string{"Authorization: Token "}, want: isRejected},
		{name: "C04 two words", headers: []string{bearer + "{alice.jwt} y"}, want: isRejected},
		{name: "C04 two words, token", headers: []string{token + "{alice.token} y"}, want: isRejected},
		{name: "C05 in quotes", headers: []string{token + `"{alice.token}"`}, want: isRejected},
		{name: "C05 as Rails writes it", headers: []string{token + `token="{alice.token}"`}, want: isRejected},
		{name: "C05 as Rails writes it, no quotes", headers: []string{token + `token={alice.token}`}, want: isRejected},
		{name: "C06 NUL", headers: []string{bearer + "{alice.jwt}\x00"}, want: isMalformed},
		{name: "C06 CR", headers: []string{bearer + "{alice.jwt}\rx"}, want: isMalformed},
		{name: "C06 hard space", headers: []string{bearer + "\u00a0{alice.jwt}"}, want: isRejected},
		{name: "C06 zero width space", headers: []string{bearer + "{alice.jwt}\u200b"}, want: isRejected},
		{name: "C06 full-width letters", headers: []string{token + "ｅａ＿{alice.token}"}, want: isRejected},
		{name: "C06 hard space as the separator", headers: []string{"Authorization: Bearer\u00a0{alice.jwt}"}, want: isAbsent},
		{name: "C07 empty", headers: []string{"Authorization: "}, want: isAbsent},
		{name: "C07 colon", headers: []string{"Authorization: :"}, want: isAbsent},
		{name: "C07 Negotiate", headers: []string{"Authorization: Negotiate {alice.token}"}, want: isAbsent},
		{name: "C07 Digest", headers: []string{`Authorization: Digest username="alice"`}, want: isAbsent},
		{name: "C07 no scheme", headers: []string{"Authorization: {alice.token}"}, want: isAbsent},
		{name: "C08 for a proxy", headers: []string{"Proxy-Authorization: Bearer {alice.jwt}"}, want: isAbsent},
		{name: "C09 percent-encoded", headers: []string{"Authorization: Bearer%20{alice.jwt}"}, want: isAbsent},
		{name: "C09 base64 of it all", headers: []string{"Authorization: " + whole}, want: isAbsent},
		{name: "C09 percent-encoded token", headers: []string{token + "%65{alice.token}"}, want: isRejected},
		{name: "C12 underscores", headers: []string{"X_API_Key: {alice.token}"}, want: isAbsent, travels: true},
		{name: "C22 C61 wrong token, good session", headers: []string{token + "bad", "Cookie: __Host-edge_auth={alice.session}"}, want: isRejected},
		{name: "C22 C61 wrong JWT, good session", headers: []string{bearer + "{alice.jwt}x", "Cookie: __Host-edge_auth={alice.session}"}, want: isRejected},
		{name: "C22 good JWT, bad session", headers: []string{bearer + "{alice.jwt}", "Cookie: __Host-edge_auth=" + unknownSession}, want: "alice"},
		{name: "C61 unknown session", headers: []string{"Cookie: __Host-edge_auth=" + unknownSession}, want: isAbsent},
		{name: "C23 session of one, JWT of another", headers: []string{bearer + "{bob.jwt}", "Cookie: __Host-edge_auth={alice.session}"}, want: "bob"},
		{name: "C23 session of one, token of another", headers: []string{token + "{bob.token}", "Cookie: __Host-edge_auth={alice.session}"}, want: "bob"},
		{name: "C24 C66 JWT in the query", query: "?access_token={alice.jwt}", want: isAbsent, travels: true},
		{name: "C24 C66 token in the query", query: "?token={alice.token}&auth_token={alice.token}", want: isAbsent, travels: true},
		{name: "C24 session in the query", query: "?__Host-edge_auth={alice.session}", want: isAbsent, travels: true},
		{
			name: "C24 JWT in a form", method: "POST", headers: []string{"Content-Type: application/x-www-form-urlencoded"},
			body: "access_token={alice.jwt}", want: isAbsent, travels: true,
		},
		{name: "C24 in the address", target: "http://alice:correct%20horse@localhost:$PORT", doors: []string{"h1"}, want: isAbsent},
	})
}

// unknownSession has the form of an own session id.
const unknownSession = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// A credential that is cut anywhere is none.
func TestC18CredentialsCutToEachLength(t *testing.T) {
	t.Parallel()
	s := newCredentialSite(t, "", ownPolicy, "")
	s.own("alice")
	for name, header := range map[string]string{"alice.token": "Authorization: Token ", "alice.jwt": "Authorization: Bearer ", "alice.session": "Cookie: __Host-edge_auth="} {
		whole := s.known[name]
		for n := 0; n < len(whole); n++ {
			if len(whole) > 100 && n%11 != 0 && n < len(whole)-6 { // each length of a JWT is tried where it is read
				continue
			}
			a, err := harness.Doors[n%2].Ask(t, s.g, harness.Request{Path: "/guarded/x", Headers: []string{header + whole[:n]}})
			require.NoError(t, err)
			require.Equal(t, 401, a.Status, "%s: %d of %d", name, n, len(whole))
		}
		require.Empty(t, s.up.Taken())
		a, err := harness.Doors[0].Ask(t, s.g, harness.Request{Path: "/guarded/x", Headers: []string{header + whole}})
		require.NoError(t, err)
		require.Equal(t, 200, a.Status, "the baseline")
		s.up.Taken()
	}
}

// Where the session comes first, the order decides too: the first that is not absent.
func TestCredentialsOfTwoKindsByTheOrderOfThePolicy(t *testing.T) { //nolint:tparallel // the cases share a recorder
	t.Parallel()
	s := newCredentialSite(t, "", "session\n jwt\n token {\n header X-API-Key\n scheme Token\n }", "")
	s.own("alice", "bob")
	cookie := "Cookie: __Host-edge_auth={alice.session}"
	s.run(t, []credentialRow{
		{name: "C22 good session, wrong JWT", headers: []string{cookie, "Authorization: Bearer bad"}, want: "alice"},
		{name: "C22 bad session, good JWT", headers: []string{"Cookie: __Host-edge_auth=x", "Authorization: Bearer {bob.jwt}"}, want: "bob"},
		{name: "C22 bad session, wrong JWT", headers: []string{"Cookie: __Host-edge_auth=x", "Authorization: Bearer bad"}, want: isRejected},
		{name: "C23 session of one, JWT of another", headers: []string{cookie, "Authorization: Bearer {bob.jwt}"}, want: "alice"},
		{name: "C23 session of one, key of another", headers: []string{cookie, "X-API-Key: {bob.token}"}, want: "alice"},
		{name: "C61 wrong JWT, good key", headers: []string{"Authorization: Bearer bad", "X-API-Key: {bob.token}"}, want: isRejected},
		{name: "C11 baseline", headers: []string{"X-API-Key: {alice.token}"}, want: "alice"},
		{name: "C11 twice", headers: []string{"X-API-Key: {alice.token}", "X-API-Key: {alice.token}"}, want: isRejected},
		{name: "C11 twice, two users", headers: []string{"X-API-Key: {alice.token}", "X-API-Key: {bob.token}"}, want: isRejected},
		{name: "C11 empty", headers: []string{"X-API-Key: "}, want: isAbsent},
		{name: "C11 empty and another", headers: []string{"X-API-Key: ", "X-API-Key: {alice.token}"}, want: isRejected},
		{name: "C11 with blanks", headers: []string{"X-API-Key:  {alice.token} "}, want: "alice"},
		{name: "C11 blank inside", headers: []string{"X-API-Key: Token {alice.token}"}, want: isRejected},
		{name: "C11 beside a token of another", headers: []string{"X-API-Key: {alice.token}", "Authorization: Token {bob.token}"}, want: "bob"},
		{name: "C12 underscores", headers: []string{"X_API_Key: {alice.token}"}, want: isAbsent, travels: true},
		{name: "C12 dots", headers: []string{"X.Api.Key: {alice.token}"}, want: isAbsent, travels: true},
	})
}

// User name and password, in each encoding that somebody might take for one.
func TestBasicCredentials(t *testing.T) { //nolint:tparallel // the cases share a recorder
	t.Parallel()
	s := newCredentialSite(t, "", harness.BasicAlice(t), "")
	encode := base64.StdEncoding.EncodeToString
	basic := func(text string) []string { return []string{"Authorization: Basic " + text} }
	pair := func(text string) []string { return basic(encode([]byte(text))) }
	s.run(t, []credentialRow{
		{name: "C50 right", headers: pair("alice:wonderland"), want: "alice"},
		{name: "C03 any case", headers: []string{"Authorization: bASIC YWxpY2U6d29uZGVybGFuZA=="}, want: "alice"},
		{name: "C04 two blanks", headers: basic(" YWxpY2U6d29uZGVybGFuZA=="), want: "alice"},
		{name: "C04 blank behind", headers: basic("YWxpY2U6d29uZGVybGFuZA== "), want: "alice"},
		{name: "C04 alone", headers: []string{"Authorization: Basic"}, want: isRejected},
		{name: "C50 wrong", headers: pair("alice:wrong"), want: isRejected},
		{name: "C50 unknown", headers: pair("bob:wonderland"), want: isRejected},
		{name: "C13 bad base64", headers: basic("%%%"), want: isRejected},
		{name: "C13 no padding", headers: basic("YWxpY2U6d29uZGVybGFuZA"), want: isRejected},
		{name: "C13 the other alphabet", headers: basic(base64.URLEncoding.EncodeToString([]byte("alice:\xff\xfe\xfb"))), want: isRejected},
		{name: "C13 bits behind", headers: basic("YWxpY2U6d29uZGVybGFuZB=="), want: isRejected},
		{name: "C13 no colon", headers: basic("dXNlcg=="), want: isRejected},
		{name: "C13 two colons", headers: pair("alice:wonderland:x"), want: isRejected},
		{name: "C13 line end in the user", headers: pair("alice\r\n:wonderland"), want: isRejected},
		{name: "C13 Latin-1", headers: pair("alic\xe9:wonderland"), want: isRejected},
		{name: "C13 UTF-8", headers: pair("alicé:wonderland"), want: isRejected},
		{name: "C14 empty password", headers: pair("alice:"), want: isRejected},
		{name: "C14 empty user", headers: pair(":wonderland"), want: isRejected},
		{name: "C14 colon", headers: pair(":"), want: isRejected},
		{name: "C52 NUL behind", headers: pair("alice:wonderland\x00"), want: isRejected},
		{name: "C52 line end behind", headers: pair("alice:wonderland\n"), want: isRejected},
		{name: "C52 another composition", headers: pair("alice:wonderla\u0301nd"), want: isRejected},
		{name: "C55 capital", headers: pair("Alice:wonderland"), want: isRejected},
		{name: "C55 capitals", headers: pair("ALICE:wonderland"), want: isRejected},
		{name: "C55 blank behind", headers: pair("alice :wonderland"), want: isRejected},
		{name: "C55 dotless", headers: pair("alıce:wonderland"), want: isRejected},
		{name: "C55 full-width", headers: pair("ａｌｉｃｅ:wonderland"), want: isRejected},
		{name: "C55 hidden", headers: pair("ali\u200bce:wonderland"), want: isRejected},
	})
}

// Names are compared byte for byte, everywhere: a twin is somebody else.
func TestC55TwinsOfANameGainNothing(t *testing.T) {
	t.Parallel()
	s := newCredentialSite(t, "", "token", `
	handle /group/* {
		edge_auth {
			token
			require group admins
		}
		reverse_proxy UPSTREAM
	}
	handle /user/* {
		edge_auth {
			token
			require user alice
		}
		reverse_proxy UPSTREAM
	}`)
	for i, twin := range []string{"alice", "Alice", "ALICE", "alıce", "ａｌｉｃｅ"} {
		groups := ""
		if i == 0 {
			groups = `,"groups":["admins"]`
		}
		s.admin("/users", `{"id":"`+twin+`","password":"correct horse"`+groups+`}`)
		headers := []string{"Authorization: Token " + s.admin("/tokens", `{"user":"`+twin+`"}`)["token"]}
		for _, path := range []string{"/group/x", "/user/x"} {
			a, err := harness.Doors[i%3].Ask(t, s.g, harness.Request{Path: path, Headers: headers})
			require.NoError(t, err)
			want := 403
			if i == 0 {
				want = 200
			}
			require.Equal(t, want, a.Status, fmt.Sprint(path, twin))
		}
	}
	require.Len(t, s.up.Taken(), 2)
}
