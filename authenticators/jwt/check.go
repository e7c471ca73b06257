package jwt

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/words"
	"github.com/edgeauth/caddy-edgeauth/keys"
)

// Validate refuses what can't be meant.
func (a *Authenticator) Validate() error { return a.check() }

// check reads no files: those of an adapted config may be elsewhere.
func (a *Authenticator) check() error {
	for _, check := range []func() error{a.checkPlaces, a.checkBounds, a.checkPreset, a.checkKeys, a.checkAlgorithms, a.checkAddresses, a.checkMapping, a.CSRF.Check} {
		if err := check(); err != nil {
			return fmt.Errorf("jwt: %w", err)
		}
	}
	return nil
}

// checkPlaces checks where a token may stand.
func (a *Authenticator) checkPlaces() error {
	for _, scheme := range a.Scheme {
		if strings.ContainsAny(scheme, " \t,\"=") {
			return fmt.Errorf("scheme '%s': one word is needed, such as Bearer", scheme)
		}
	}
	switch {
	case a.Header != "" && !strings.EqualFold(a.Header, defaultHeader) && identity.CheckName(a.Header) != nil:
		return fmt.Errorf("header '%s': a name such as X-Token is needed", a.Header)
	case strings.ContainsAny(a.Cookie, " \t;,=\""):
		return fmt.Errorf("cookie '%s': a name such as access_token is needed", a.Cookie)
	case url.QueryEscape(a.Query) != a.Query:
		return fmt.Errorf("query '%s': a plain name such as access_token is needed", a.Query)
	case a.CSRF != nil && a.Cookie == "" && !a.checksOwn():
		return errors.New("csrf is about tokens in a cookie; add 'cookie <name>', or leave it out")
	}
	return nil
}

// checkBounds checks the bounds of tokens.
func (a *Authenticator) checkBounds() error {
	switch {
	case a.Leeway < 0 || time.Duration(a.Leeway) > maxLeeway:
		return fmt.Errorf("leeway of %v; 0s to %v would do", time.Duration(a.Leeway), maxLeeway)
	case a.MaxLifetime < 0:
		return fmt.Errorf("max_lifetime of %v; a duration such as 1h or 366d is needed", time.Duration(a.MaxLifetime))
	}
	for _, typ := range lowerTypes(a.Typ) {
		if typ == "" || strings.ContainsAny(typ, " \t;,\"") {
			return fmt.Errorf("typ '%s': a value such as at+jwt is needed", typ)
		}
	}
	_, err := parseSize(a.MaxSize)
	return err
}

func parseSize(text string) (int, error) {
	if text == "" {
		return defaultMaxSize, nil
	}
	size, err := humanize.ParseBytes(text)
	if err != nil || size < 256 || size > 1<<20 {
		return 0, fmt.Errorf("max_size '%s': 256B to 1MB would do, such as 8KB", text)
	}
	return int(size), nil
}

func (a *Authenticator) checkPreset() error {
	preset, known := presets[a.Preset]
	if !known {
		return words.Unknown("preset", a.Preset, Presets())
	}
	if a.Preset != simpleJWT && (a.TokenTypeClaim != "" || a.JTIClaim != "") {
		return errors.New("token_type_claim and jti_claim are settings of SimpleJWT; add 'preset simplejwt', or leave them out")
	}
	for _, needs := range preset.needs {
		if err := needs(a); err != nil {
			return fmt.Errorf("preset %s: %w", a.Preset, err)
		}
	}
	return nil
}

func (a *Authenticator) checkKeys() error {
	if len(a.Keys) > 0 && a.JWKS != "" {
		return errors.New("both 'key' and 'jwks'; leave one of them out")
	}
	for _, c := range a.Keys {
		if err := keys.CheckAlgorithm(c.Algorithm); err != nil {
			return err
		}
		if c.secret() != a.Keys[0].secret() {
			return errors.New("a shared secret (HS…) and public keys in one authenticator; give each a 'jwt' of its own")
		}
		if c.Value == "" {
			return fmt.Errorf("%s key: it is empty", c.Algorithm)
		}
		if c.isFile() || c.hasPlaceholder() {
			continue
		}
		if _, err := c.parse([]byte(c.Value)); err != nil {
			return err
		}
	}
	return nil
}

// checkAlgorithms refuses a list that no key can meet.
func (a *Authenticator) checkAlgorithms() error {
	if len(a.Algorithms) == 0 {
		return nil
	}
	first := a.Algorithms[0]
	for _, alg := range a.Algorithms {
		if err := keys.CheckAlgorithm(alg); err != nil {
			return err
		}
		if isSecret(alg) != isSecret(first) {
			return errors.New("algorithms of shared secrets (HS…) and of public keys in one authenticator; give each a 'jwt' of its own")
		}
	}
	if isSecret(first) && len(a.Keys) == 0 && !a.checksOwn() && (a.JWKS == "" || isURL(a.JWKS)) {
		return errNoSecret(first)
	}
	for _, c := range a.Keys {
		if !slices.Contains(a.Algorithms, c.Algorithm) {
			return fmt.Errorf("a key for %s, which is none of 'algorithms %s'", c.Algorithm, strings.Join(a.Algorithms, " "))
		}
	}
	return nil
}

// checksOwn reports whether the tokens are those that we sign ourselves.
func (a *Authenticator) checksOwn() bool {
	return len(a.Keys) == 0 && a.JWKS == "" && len(a.Issuer) == 0 && len(presets[a.Preset].issuers) == 0
}

func errNoSecret(alg string) error {
	return fmt.Errorf("algorithm %s needs a secret, and only public keys are given: add 'key %s <secret>'", alg, alg)
}

// checkAddresses checks where keys are found on the network.
func (a *Authenticator) checkAddresses() error {
	if slices.Contains(a.Audience, "") || slices.Contains(a.Issuer, "") {
		return errors.New("an issuer or audience is empty; name one, or leave it out")
	}
	if strings.Contains(a.JWKS, "{") {
		return fmt.Errorf("jwks '%s': a placeholder is not taken here; name a URL or a file", a.JWKS)
	}
	if isURL(a.JWKS) {
		if err := keys.CheckURL(a.JWKS); err != nil {
			return fmt.Errorf("jwks '%s': %w", a.JWKS, err)
		}
	}
	if len(a.Keys) > 0 || a.JWKS != "" {
		return nil
	}
	for _, issuer := range a.Issuer {
		if strings.ContainsAny(issuer, "?#") {
			return fmt.Errorf("issuer '%s': an address without ? and # is needed, below which its keys are looked up", issuer)
		}
		if err := keys.CheckURL(issuer); err != nil {
			return fmt.Errorf("issuer '%s' without a key: its keys are looked up below it: %w", issuer, err)
		}
	}
	return nil
}

func (a *Authenticator) checkMapping() error {
	for _, claim := range a.RequireClaims {
		if _, err := identity.ParsePath(claim.Path); err != nil {
			return fmt.Errorf("require_claim: %w", err)
		}
	}
	_, err := identity.NewMapping(cmp.Or(a.User, defaultUser), a.Claims, a.IDPrefix)
	return err
}
