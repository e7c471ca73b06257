package identity

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// AssertionHeader is where an assertion stands unless the config says otherwise.
const AssertionHeader = "X-Edge-Auth-Assertion"

// AssertionType is the typ of an assertion (RFC 7515, section 4.1.9). Whoever
// reads access tokens must refuse it, and whoever reads assertions all others.
const AssertionType = "edge-auth+jwt"

// Assertion is what the assertions of a policy have in common.
type Assertion struct {
	Issuer   string
	Audience []string
	Lifetime time.Duration
}

// assertionClaims are the claims by RFC 7519 and OpenID Connect; htm is that of
// RFC 9449, section 4.2.
type assertionClaims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience []string `json:"aud"`
	Issued   int64    `json:"iat"`
	Expires  int64    `json:"exp"`
	ID       string   `json:"jti"`
	Method   string   `json:"htm"`
	Host     string   `json:"host"`
	Name     string   `json:"name,omitempty"`
	Email    string   `json:"email,omitempty"`
	Groups   []string `json:"groups,omitempty"`
	AuthTime int64    `json:"auth_time,omitempty"`
}

// Claims are the claims, in JSON, of the assertion that who sent r. They hold for
// this method and host, and for no longer than the lifetime.
func (a Assertion) Claims(r *http.Request, who *Identity, now time.Time) ([]byte, error) {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	claims := assertionClaims{
		Issuer: a.Issuer, Subject: who.ID, Audience: a.Audience,
		Issued: now.Unix(), Expires: now.Add(a.Lifetime).Unix(), ID: hex.EncodeToString(id[:]),
		Method: UpstreamMethod(r), Host: strings.ToLower(r.Host),
		Name: who.Name, Email: who.Email, Groups: who.Groups,
	}
	if !who.AuthTime.IsZero() {
		claims.AuthTime = who.AuthTime.Unix()
	}
	return json.Marshal(claims)
}

// UpstreamMethod is the method that the upstream sees: the WebSocket handshakes
// of HTTP/2 and HTTP/3 (RFC 8441, RFC 9220) reach it as those of HTTP/1.1.
func UpstreamMethod(r *http.Request) string {
	if r.Method == http.MethodConnect && r.ProtoMajor >= 2 && (r.Header.Get(":protocol") == "websocket" || r.Proto == "websocket") {
		return http.MethodGet
	}
	return r.Method
}
