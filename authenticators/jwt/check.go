package jwt

import (
	"cmp"
	"errors"
	"fmt"
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
	for _, check := range []func() error{a.checkPlaces, a.checkPreset, a.checkKeys, a.checkAlgorithms, a.checkAddresses, a.checkMapping, a.CSRF.Check} {
		if err := check(); err != nil {
			return fmt.Errorf("jwt: %w", err)
		}
	}
	return nil
}

// checkPlaces checks where a token may stand, and its bounds.
func (a *Authenticator) checkPlaces() error {
	switch {
	case a.Leeway < 0 || time.Duration(a.Leeway) > maxLeeway:
		return fmt.Errorf("leeway of %v; 0s to %v would do", time.Duration(a.Leeway), maxLeeway)
	case strings.ContainsAny(a.Scheme, " \t,\""):
		return fmt.Errorf("scheme '%s': one word is needed, such as Bearer", a.Scheme)
	case a.Header != "" && !strings.EqualFold(a.Header, defaultHeader) && identity.CheckName(a.Header) != nil:
		return fmt.Errorf("header '%s': a name such as X-Token is needed", a.Header)
	case strings.ContainsAny(a.Cookie, " \t;,=\""):
		return fmt.Errorf("cookie '%s': a name such as access_token is needed", a.Cookie)
	case a.CSRF != nil && a.Cookie == "":
		return errors.New("csrf is about tokens in a cookie; add 'cookie <name>', or leave it out")
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
	switch {
	case a.Preset == "":
		return nil
	case a.Preset != presetSimple:
		return words.Unknown("preset", a.Preset, []string{presetSimple})
	case len(a.Keys) == 0 && a.JWKS == "":
		return errors.New("preset simplejwt needs the 'key' that Django signs with, such as: key HS256 {env.SIGNING_KEY}")
	case isURL(a.JWKS) && len(a.Algorithms) == 0:
		return errors.New("preset simplejwt is about HS256, and no secret is at an address; add 'algorithms RS256', or whichever Django signs with")
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
	if isSecret(first) && len(a.Keys) == 0 && (a.JWKS == "" || isURL(a.JWKS)) {
		return fmt.Errorf("algorithm %s needs a secret, and only public keys are given: add 'key %s <secret>'", first, first)
	}
	for _, c := range a.Keys {
		if !slices.Contains(a.Algorithms, c.Algorithm) {
			return fmt.Errorf("a key for %s, which is none of 'algorithms %s'", c.Algorithm, strings.Join(a.Algorithms, " "))
		}
	}
	return nil
}

// checkAddresses checks where keys are found on the network.
func (a *Authenticator) checkAddresses() error {
	if slices.Contains(a.Audience, "") || slices.Contains(a.Issuer, "") {
		return errors.New("an issuer or audience is empty; name one, or leave it out")
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
