package session

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/edgeauth/caddy-edgeauth/authenticators/foreign"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/words"
)

// preset is a framework's conventions.
type preset struct {
	cookie, key, user string

	// id takes the session id out of a cookie's value; false: there is none that
	// could be one.
	id func(value string) (string, bool)

	// decode reads a session.
	decode func(value []byte) (map[string]any, error)

	// loggedIn reports whether a session is that of somebody who logged in.
	loggedIn func(session map[string]any) bool
}

// django is the layout of django.contrib.sessions.backends.cache, on Django's
// own Redis cache or on django-redis, with the default prefix and version.
var django = preset{
	cookie:   "sessionid",
	key:      ":1:django.contrib.sessions.cache{id}",
	user:     "_auth_user_id",
	id:       djangoID,
	decode:   decodeAny,
	loggedIn: djangoLoggedIn,
}

var custom = preset{
	id:       func(value string) (string, bool) { return value, foreign.Fit(value) == nil },
	loggedIn: func(map[string]any) bool { return true },
}

var presets = map[string]preset{"django": django, "custom": custom}

// presetNames lists the presets, sorted.
func presetNames() []string {
	names := make([]string, 0, len(presets))
	for name := range presets {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// decoders by their names in the config.
var decoders = map[string]func([]byte) (map[string]any, error){"json": identity.ParseClaims, "pickle": decodePickle}

// completed is the preset with the config's own options in place of its
// defaults.
func (a *Authenticator) completed() (preset, error) {
	p, ok := presets[a.Preset]
	if !ok {
		return p, fmt.Errorf("session: %w", words.Unknown("session preset", a.Preset, presetNames()))
	}
	p.cookie = cmp.Or(a.Cookie, p.cookie)
	p.key = cmp.Or(a.Key, p.key)
	p.user = cmp.Or(a.User, p.user)
	if a.Decode != "" {
		if p.decode, ok = decoders[a.Decode]; !ok {
			return p, fmt.Errorf("session: %w", words.Unknown("format", a.Decode, []string{"json", "pickle"}))
		}
	}
	if p.cookie == "" || p.key == "" || p.user == "" || p.decode == nil {
		return p, errors.New("session custom: cookie, key, decode and user are all needed")
	}
	return p, nil
}

// djangoIDs are those that Django makes. Anything else in a key could name
// another application's record.
var djangoIDs = regexp.MustCompile(`^[a-z0-9]{32}$`)

// djangoID takes one pair of quotes off, as Django does.
func djangoID(value string) (string, bool) {
	if inner, ok := strings.CutPrefix(value, `"`); ok && strings.HasSuffix(inner, `"`) {
		value = strings.TrimSuffix(inner, `"`)
	}
	return value, djangoIDs.MatchString(value)
}

// djangoLoggedIn demands what Django demands (django.contrib.auth.get_user):
// the user's key, the backend that logged in, and the hash that ends a session
// when the password changes.
func djangoLoggedIn(session map[string]any) bool {
	for _, name := range []string{"_auth_user_id", "_auth_user_backend", "_auth_user_hash"} {
		if text, ok := session[name].(string); !ok || text == "" {
			return false
		}
	}
	return true
}
