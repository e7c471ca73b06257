package flood

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// Get is a GET with a header line, as it goes over the wire.
func Get(host, header string) string {
	return "GET / HTTP/1.1\r\nHost: " + host + "\r\n" + header + "\r\n\r\n"
}

// Kinds are those of Wrong, in an order that stays.
var Kinds = []string{"tokens", "session ids", "kids and issuers", "user names"}

// Wrong are requests with credentials that nobody has, each another one, and each of a
// form that has to be looked up or checked.
func Wrong(host, kind string) func(n int) string {
	encode := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	switch kind {
	case "tokens":
		return func(n int) string { return Get(host, fmt.Sprintf("Authorization: Token %040x", n)) }
	case "session ids":
		return func(n int) string {
			return Get(host, "Cookie: __Host-edge_auth="+encode(fmt.Sprintf("%032d", n)))
		}
	case "kids and issuers":
		signature := encode(strings.Repeat("s", 64))
		return func(n int) string {
			return Get(host, "Authorization: Bearer "+encode(fmt.Sprintf(`{"alg":"EdDSA","kid":"%d"}`, n))+"."+
				encode(fmt.Sprintf(`{"sub":"alice","iss":"https://%d.example.com","exp":4102444800}`, n))+"."+signature)
		}
	case "user names":
		return func(n int) string {
			return Get(host, "Authorization: Basic "+base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "user%d:wrong", n)))
		}
	}
	panic("no such kind: " + kind)
}
