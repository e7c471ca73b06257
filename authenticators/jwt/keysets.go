package jwt

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/keys"
)

// provisionKeys finds the key sets, by issuer where each has its own.
func (a *Authenticator) provisionKeys(host authenticators.Host, logger *zap.Logger) error {
	a.sets = make(map[string]keys.Set)
	switch {
	case len(a.Keys) > 0:
		set, err := a.configuredKeys(logger)
		if err != nil {
			return fmt.Errorf("jwt: %w", err)
		}
		a.sets[""] = set
	case isURL(a.JWKS):
		return a.remoteKeys(host, "", a.JWKS)
	case a.JWKS != "":
		set, err := keys.OpenFile(a.JWKS, readSet, logger)
		if err != nil {
			return fmt.Errorf("jwt: %w", err)
		}
		a.sets[""] = set
	case len(a.Issuer) > 0:
		for _, issuer := range a.Issuer {
			if err := a.remoteKeys(host, issuer, a.keysOf(issuer)); err != nil {
				return err
			}
		}
	case len(a.issuers) > 0: // spellings of one
		return a.remoteKeys(host, "", a.keysOf(a.issuers[0]))
	default:
		return a.useOwnKeys(host.SigningKeys())
	}
	return nil
}

// useOwnKeys checks tokens that we sign ourselves.
func (a *Authenticator) useOwnKeys(ring *keys.Ring) error {
	a.sets[""] = ring
	known := ring.Algorithms() // nil: the key is made later, and is no secret
	switch {
	case len(a.algorithms) == 0 && known != nil:
		a.fits = known
	case a.bySecret() && !slices.ContainsFunc(known, isSecret):
		return fmt.Errorf("jwt: %w", errNoSecret(a.fits[0]))
	}
	return nil
}

// keysOf is where an issuer publishes its keys.
func (a *Authenticator) keysOf(issuer string) string {
	if a.preset.jwks != "" {
		return strings.TrimSuffix(issuer, "/") + a.preset.jwks
	}
	return keys.DiscoveryURL(issuer)
}

func (a *Authenticator) remoteKeys(host authenticators.Host, issuer, address string) error {
	set, err := host.KeySet(address)
	if err != nil {
		return fmt.Errorf("jwt: keys at '%s': %w", address, err)
	}
	a.sets[issuer] = set
	return nil
}

// readSet reads a JWK Set of any algorithms.
func readSet(data []byte) (keys.Loaded, error) { return keys.Read(data, "") }

// configuredKeys reads the keys that stand in the config or in files.
func (a *Authenticator) configuredKeys(logger *zap.Logger) (keys.Set, error) {
	var all keys.Union
	unnamed := make(map[string]int)
	for _, c := range a.Keys {
		set, list, err := c.load(logger)
		if err != nil {
			return nil, err
		}
		for _, key := range list {
			if key.ID == "" {
				unnamed[c.Algorithm]++
			}
		}
		if unnamed[c.Algorithm] > keys.MaxTried {
			return nil, fmt.Errorf("more than %d %s keys without an id, and no more are tried on a token: give JWKs, each with the kid that its tokens name",
				keys.MaxTried, c.Algorithm)
		}
		all = append(all, set)
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return all, nil
}

// load reads the key from where it stands.
func (c KeyConfig) load(logger *zap.Logger) (keys.Set, []*keys.Key, error) {
	value, err := c.resolve()
	if err != nil {
		return nil, nil, fmt.Errorf("%s key: %w", c.Algorithm, err)
	}
	if c.isFile() {
		set, err := keys.OpenFile(value, c.parse, logger)
		switch {
		case errors.Is(err, fs.ErrNotExist) && c.secret():
			// It may be the secret itself, which no log may show.
			return nil, nil, fmt.Errorf("%s key: it looks like the name of a file, which there is not; give a secret as {env.NAME} or {file./path}", c.Algorithm)
		case err != nil:
			return nil, nil, err
		}
		return set, set.Keys(), nil
	}
	loaded, err := c.parse([]byte(value))
	if err != nil {
		return nil, nil, err
	}
	for _, skipped := range loaded.Skipped {
		logger.Warn("jwt: key of a set is not used", zap.Error(skipped))
	}
	return keys.Static(loaded.Keys), loaded.Keys, nil
}

// parse makes keys of their bytes.
func (c KeyConfig) parse(data []byte) (keys.Loaded, error) {
	if c.secret() {
		return keys.ReadSecret(data, c.Algorithm)
	}
	return keys.Read(data, c.Algorithm)
}

// secret reports whether the key is shared with whoever signs.
func (c KeyConfig) secret() bool { return isSecret(c.Algorithm) }

func isSecret(alg string) bool { return strings.HasPrefix(alg, "HS") }

// resolve replaces placeholders, which a JWK's braces are not.
func (c KeyConfig) resolve() (string, error) {
	if json.Valid([]byte(c.Value)) {
		return c.Value, nil
	}
	return caddy.NewReplacer().ReplaceOrErr(c.Value, true, true)
}

// hasPlaceholder reports whether the value is known only when it runs.
func (c KeyConfig) hasPlaceholder() bool {
	return strings.Contains(c.Value, "{") && !json.Valid([]byte(c.Value))
}

// isFile reports whether the value is the name of a file. The text of the
// config decides: what a placeholder gives may be a secret that happens to
// begin with a slash.
func (c KeyConfig) isFile() bool {
	if strings.Contains(c.Value, "\n") {
		return false
	}
	for _, prefix := range []string{"/", "./", "../"} {
		if strings.HasPrefix(c.Value, prefix) {
			return true
		}
	}
	for _, suffix := range []string{".pem", ".jwk", ".jwks", ".json", ".key"} {
		if strings.HasSuffix(c.Value, suffix) {
			return true
		}
	}
	return false
}

func isURL(text string) bool {
	return strings.HasPrefix(text, "https://") || strings.HasPrefix(text, "http://")
}
