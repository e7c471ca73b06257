package attacks

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

const jwtSecret = "an-hs256-secret-of-32-bytes-or-more"

// encoding is that of JWTs.
var encoding = base64.RawURLEncoding

func enc(text string) string { return encoding.EncodeToString([]byte(text)) }

// claimsWith are alice's, with members after them.
func claimsWith(more string) string {
	return fmt.Sprintf(`{"sub":"alice","iss":"https://idp.example.com","aud":"api","exp":%d%s}`, time.Now().Add(time.Hour).Unix(), more)
}

// A token of each kind of row, by each door. All of the rows, by HTTP/1.1:
// integration/jwt_rows_test.go.
func TestJWTRowsByEachDoor(t *testing.T) { //nolint:tparallel // the doors share a recorder
	t.Parallel()
	up := harness.StartUpstream(t)
	private := harness.NewEd25519(t)
	g := harness.New(t, "UPSTREAM", up.Addr)
	g.Write("secret", jwtSecret)
	g.Write("key.pem", harness.PublicPEM(t, private.Public()))
	g.ServeTLS("", `	handle /hs {
		edge_auth {
			jwt {
				issuer https://idp.example.com
				audience api
				key HS256 $DIR/secret
			}
		}
		reverse_proxy UPSTREAM
	}
	handle /ed {
		edge_auth {
			jwt {
				issuer https://idp.example.com
				audience api
				key EdDSA $DIR/key.pem
				cookie access
			}
		}
		reverse_proxy UPSTREAM
	}
	handle /optional {
		edge_auth {
			jwt {
				issuer https://idp.example.com
				audience api
				key EdDSA $DIR/key.pem
			}
			optional
		}
		reverse_proxy UPSTREAM
	}`)
	hs := harness.HS256(jwtSecret)
	signHS := func(head, claims string) string {
		input := enc(head) + "." + enc(claims)
		return input + "." + enc(string(hs.Sign([]byte(input))))
	}
	signEd := func(head, claims string) string {
		input := enc(head) + "." + enc(claims)
		return input + "." + enc(string(ed25519.Sign(private, []byte(input))))
	}
	const headHS, headEd = `{"alg":"HS256"}`, `{"alg":"EdDSA"}`
	good := signEd(headEd, claimsWith(""))
	part := strings.Split(good, ".")
	pem := harness.PublicPEM(t, private.Public())
	asSecret := func(secret string) string {
		return harness.HS256(secret).Token(t, harness.ClaimsOf("alice"))
	}
	flipped := []byte(good)
	flipped[len(part[0])+5] ^= 1
	rows := []struct{ name, site, token string }{
		{"J02 padding", "/ed", good + "="},
		{"J03 + and /", "/ed", strings.NewReplacer("-", "+", "_", "/").Replace(good) + "+"},
		{"J04 unused bits", "/ed", good[:len(good)-1] + string(rune(good[len(good)-1]+1))},
		{"J05 blank inside", "/ed", part[0] + ". " + part[1] + "." + part[2]},
		{"J07 two parts", "/ed", part[0] + "." + part[1]},
		{"J08 flattened JSON", "/ed", `{"protected":"` + part[0] + `","payload":"` + part[1] + `","signature":"` + part[2] + `","sub":"admin"}`},
		{"J09 general JSON", "/ed", `{"payload":"` + part[1] + `","signatures":[{"protected":"` + part[0] + `","signature":"` + part[2] + `"}]}`},
		{"J10 bare claims", "/ed", `{"aud":"api"}`},
		{"J11 garbage after the claims", "/ed", signEd(headEd, claimsWith("")+"x")},
		{"J12 deep", "/ed", signEd(headEd, claimsWith(`,"x":`+strings.Repeat("[", 900)+strings.Repeat("]", 900)))},
		{"J13 J14 crit", "/ed", signEd(`{"alg":"EdDSA","crit":["zz"],"zz":1}`, claimsWith(""))},
		{"J15 b64", "/ed", signEd(`{"alg":"EdDSA","b64":false}`, claimsWith(""))},
		{"J16 detached", "/ed", part[0] + ".." + part[2]},
		{"J17 none", "/ed", enc(`{"alg":"none"}`) + "." + part[1] + "."},
		{"J17 nOnE with a signature", "/ed", enc(`{"alg":"nOnE"}`) + "." + part[1] + "." + part[2]},
		{"J18 alg twice", "/ed", signEd(`{"alg":"none","alg":"EdDSA"}`, claimsWith(""))},
		{"J19 typ of a logout token", "/ed", signEd(`{"alg":"EdDSA","typ":"logout+jwt"}`, claimsWith(""))},
		{"J20 J21 the public key as a secret", "/ed", asSecret(pem)},
		{"J20 the key's bytes as a secret", "/ed", asSecret(string(private.Public().(ed25519.PublicKey)))},
		{"J22 empty secret", "/hs", asSecret("")},
		{"J23 J26 EdDSA at HS256", "/hs", good},
		{"J25 HS256 at EdDSA", "/ed", signHS(headHS, claimsWith(""))},
		{"J30 jwk", "/ed", harness.JWTIssuer{Alg: `EdDSA","jwk":{"kty":"oct","k":"AAAA"},"x":"`, Sign: func(in []byte) []byte { return make([]byte, 64) }}.Token(t, harness.ClaimsOf("alice"))},
		{"J32 kid of a path", "/hs", signHS(`{"alg":"HS256","kid":"../../dev/null"}`, claimsWith(`,"aud":"x"`))},
		{"J38 signature of another token", "/ed", part[0] + "." + enc(claimsWith(`,"x":1`)) + "." + part[2]},
		{"J40 exp missing", "/ed", signEd(headEd, `{"sub":"alice","iss":"https://idp.example.com","aud":"api"}`)},
		{"J41 expired", "/ed", signEd(headEd, `{"sub":"alice","iss":"https://idp.example.com","aud":"api","exp":1}`)},
		{"J42 nbf", "/ed", signEd(headEd, claimsWith(`,"nbf":9999999999`))},
		{"J43 exp of 1e400", "/ed", signEd(headEd, `{"sub":"alice","iss":"https://idp.example.com","aud":"api","exp":1e400}`)},
		{"J45 sub twice", "/ed", signEd(headEd, claimsWith(`,"sub":"admin"`))},
		{"J46 Sub", "/ed", signEd(headEd, strings.Replace(claimsWith(""), "sub", "Sub", 1))},
		{"J47 sub with a line break", "/ed", signEd(headEd, strings.Replace(claimsWith(""), "alice", `alice\r\nRemote-User: admin`, 1))},
		{"J50 another audience", "/ed", signEd(headEd, strings.Replace(claimsWith(""), `"api"`, `"apix"`, 1))},
		{"J60 J64 J66 another issuer", "/ed", signEd(headEd, strings.Replace(claimsWith(""), "example.com", "example.com.evil", 1))},
		{"J63 refresh token", "/ed", signEd(headEd, claimsWith(`,"token_type":"refresh"`))},
		{"J67 bound to a key", "/ed", signEd(headEd, claimsWith(`,"cnf":{"jkt":"x"}`))},
		{"J70 JWE", "/ed", enc(`{"alg":"dir","enc":"A128GCM"}`) + "..AAAA.AAAA.AAAA"},
		{"J71 nested", "/ed", signEd(`{"alg":"EdDSA","cty":"JWT"}`, good)},
		{"J73 null header", "/ed", signEd("null", claimsWith(""))},
		{"J75 one bit", "/ed", string(flipped)},
	}
	byEachDoor(t, g, up, func(e entry) {
		for _, site := range []string{"/ed", "/hs"} { // the baseline, J01
			token := map[string]string{"/ed": good, "/hs": signHS(headHS, claimsWith(""))}[site]
			require.Equal(e.t, 200, e.send(http.MethodGet, site, "", "Authorization: Bearer "+token).Status)
			assert.Equal(e.t, []string{"alice"}, harness.HeaderOf(e.up.One(e.t), "Remote-User"))
		}
		for _, row := range rows {
			e.t.Run(row.name, func(t *testing.T) {
				e := entry{g, t, e.door, up}
				e.refused(401, e.send(http.MethodGet, row.site, "", "Authorization: Bearer "+row.token))
				if row.site == "/ed" { // wrong is wrong, also where nobody need be known; a wrong cookie is none
					e.refused(401, e.send(http.MethodGet, "/optional", "", "Authorization: Bearer "+row.token))
					if !strings.ContainsAny(row.token, ` ",`) {
						e.refused(401, e.send(http.MethodGet, "/ed", "", "Cookie: access="+row.token))
					}
				}
			})
		}
	})
}
