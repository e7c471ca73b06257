//go:build ignore

// An upstream that answers only who comes with an assertion of the gateway.
//
//	go run verify.go 8000 https://www.example.com/.well-known/jwks.json app
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/lestrrat-go/jwx/v2/jwt"
)

func verify(r *http.Request, keys jwk.Set, audience string) (jwt.Token, error) {
	assertion := []byte(r.Header.Get("X-Edge-Auth-Assertion"))
	message, err := jws.Parse(assertion)
	if err != nil || len(message.Signatures()) != 1 || message.Signatures()[0].ProtectedHeaders().Type() != "edge-auth+jwt" {
		return nil, errors.New("no assertion") // an access token must not pass for one
	}
	return jwt.Parse(assertion, jwt.WithKeySet(keys), // each key says its one algorithm
		jwt.WithIssuer("edge_auth"), jwt.WithAudience(audience),
		jwt.WithRequiredClaim("sub"), jwt.WithRequiredClaim("exp"), jwt.WithAcceptableSkew(5*time.Second),
		jwt.WithClaimValue("htm", r.Method), jwt.WithClaimValue("host", strings.ToLower(r.Host)))
}

func main() {
	port, url, audience := os.Args[1], os.Args[2], os.Args[3]
	cache := jwk.NewCache(context.Background())
	if err := cache.Register(url, jwk.WithMinRefreshInterval(5*time.Minute)); err != nil {
		log.Fatal(err)
	}
	keys := jwk.NewCachedSet(cache, url)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+port, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, err := verify(r, keys, audience)
		if err != nil {
			http.Error(w, "not by the gateway", http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, claims.Subject())
	})))
}
