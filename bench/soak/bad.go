package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	mathrand "math/rand/v2"
	"strings"
	"time"
)

// forged is a request that must not be let through.
type forged struct {
	kind    string
	path    string
	headers [][2]string
}

// unknownKid is the kind of tokens that make a gateway ask for keys anew.
const unknownKid = "unknown kid"

// forge makes a bad request of a kind taken at random, from what is good at a side.
func (s *side) forge() forged {
	bad := func(kind, path string, headers ...[2]string) forged { return forged{kind, path, headers} }
	random := rand.Text() + rand.Text()
	known := s.world.idp
	bearer := func(token string) [2]string { return [2]string{"Authorization", "Bearer " + token} }
	right := claims("mallory", time.Now().Add(time.Hour))
	switch mathrand.IntN(18) {
	case 0:
		return bad("nothing at all", s.guarded())
	case 1:
		return bad("made-up token", usersOwn, [2]string{"Authorization", "Token " + random})
	case 2:
		return bad("made-up session id", usersOwn, [2]string{"Cookie", "__Host-edge_auth=" + base64.RawURLEncoding.EncodeToString([]byte(random)[:32])})
	case 3:
		return bad(unknownKid, "/foreign/", bearer(known.token("EdDSA", random[:8], right)))
	case 4:
		return bad("alg none", "/foreign/", bearer(strings.TrimSuffix(known.token("none", "ed", right), ".")+"."))
	case 5:
		public, _ := json.Marshal(known.rsa.Public())
		other := &idp{secret: string(public)}
		return bad("HS256 by the public key", "/foreign/", bearer(other.token("HS256", "rsa", right)))
	case 6:
		right["exp"] = time.Now().Add(-time.Second).Unix()
		return bad("expired JWT", "/foreign/", bearer(known.token("RS256", "rsa", right)))
	case 7:
		right["aud"] = "other"
		return bad("JWT for others", "/foreign/", bearer(known.token("EdDSA", "ed", right)))
	case 8:
		right["iss"] = idpIssuer + "/"
		return bad("JWT of others", "/secret/", bearer(known.token("HS256", "", right)))
	case 9:
		right["nbf"] = time.Now().Add(time.Hour).Unix()
		return bad("JWT of tomorrow", "/foreign/", bearer(known.token("EdDSA", "ed", right)))
	case 10:
		return bad("wrong password, basic", "/basic/", [2]string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("user1:"+random))})
	case 11, 12:
		return s.altered()
	case 13:
		return s.twice()
	}
	if s.redis == nil {
		return bad("made-up token", "/optional/", [2]string{"Authorization", "Token " + random})
	}
	switch mathrand.IntN(4) {
	case 0:
		return bad("made-up session id of Django", "/django/", [2]string{"Cookie", "sessionid=" + strings.ToLower(random[:32])})
	case 1:
		return bad("signed cookie without a session", "/express/", [2]string{"Cookie", signedByExpress(known.secret, random)})
	case 2:
		return bad("made-up key of an app", "/apikey/", [2]string{"Authorization", "Key " + random})
	default:
		return bad("forged signature", "/express/", [2]string{"Cookie", signedByExpress("another secret, just as long as it", random)})
	}
}

func (s *side) guarded() string {
	paths := []string{usersOwn, "/foreign/", "/secret/", "/basic/"}
	if s.redis != nil {
		paths = append(paths, "/django/", "/express/", "/apikey/", "/both/")
	}
	return paths[mathrand.IntN(len(paths))]
}

// altered is a good credential with a letter changed.
func (s *side) altered() forged {
	c := s.pick()
	if c == nil {
		return forged{kind: "nothing at all", path: s.guarded()}
	}
	value := []byte(c.header[1])
	// Not the last three: of a base64 text's last letter not all bits count, and
	// whether such spellings are refused is another test's concern.
	first := strings.LastIndexAny(c.header[1], " =") + 1
	at := first + mathrand.IntN(len(value)-first-3)
	if value[at] == 'A' {
		value[at] = 'B'
	} else {
		value[at] = 'A'
	}
	path := c.path()
	if path == "/optional/" {
		path = usersOwn // an unknown session is nobody, and nobody passes there
	}
	return forged{kind: "altered " + c.kind, path: path, headers: [][2]string{{c.header[0], string(value)}}}
}

// twice is two good credentials in one request, of which none may be picked.
func (s *side) twice() forged {
	a, b := s.pick(), s.pick()
	if a == nil || b == nil || a == b || a.header[0] != "Authorization" || b.header[0] != "Authorization" {
		return forged{kind: "nothing at all", path: s.guarded()}
	}
	return forged{kind: "two Authorization headers", path: a.path(), headers: [][2]string{a.header, b.header}}
}

// claimed are identity headers that a client writes, in spellings that some server
// takes for the same.
func claimed() [][2]string {
	names := []string{
		"Remote-User", "remote_user", "REMOTE-USER", "Remote.User", "Remote-Groups", "remote_groups", "Remote_Email", "Remote-Name",
		"X-Forwarded-User", "x_forwarded_user", "X-Forwarded-Groups", "X-Auth-Request-User", "X-Webauth-User", "X-Remote-User", "X_Remote_Group",
		"Remote!User", "Remote~User", "REMOTE'USER",
	}
	headers := make([][2]string, 0, 4)
	for range 1 + mathrand.IntN(3) {
		headers = append(headers, [2]string{names[mathrand.IntN(len(names))], "mallory"})
	}
	if mathrand.IntN(3) == 0 {
		headers = append(headers, [2]string{"Connection", "Remote-User, remote-groups"})
	}
	return headers
}
