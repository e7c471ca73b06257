package session

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"regexp"
	"strings"
	"time"

	"github.com/edgeauth/caddy-edgeauth/authenticators/session/seal"
	"github.com/edgeauth/caddy-edgeauth/authenticators/session/wire"
)

// rackIDs are the public ids of Rack, in cookies. In keys stands their digest, the
// private id.
var rackIDs = idForm{
	form: regexp.MustCompile(`^[0-9a-f]{32,128}$`),
	inKey: func(id string) string {
		digest := sha256.Sum256([]byte(id))
		return "2::" + hex.EncodeToString(digest[:])
	},
}

// rails is Rails' CacheStore on its Redis cache, and redis-actionpack with another
// key; users are Devise's.
var rails = preset{
	cookie: "_session_id",
	key:    "_session_id:{id}",
	users:  []string{`"warden.user.user.key".0.0`},
	value:  cookieValue{escaped: true},
	id:     rackIDs,
	sealed: sealing{open: seal.Rails, secrets: maySecrets},
	decode: clocked(wire.Rack),
}

// rack is redis-rack, which Sinatra's users take.
var rack = preset{
	cookie: "rack.session",
	key:    "rack:session:{id}",
	users:  []string{"user_id"},
	value:  cookieValue{escaped: true},
	id:     rackIDs,
	decode: clocked(wire.Rack),
}

// scs is alexedwards/scs, whose sessions have a clock of their own.
var scs = preset{
	cookie: "session",
	key:    "scs:session:{id}",
	users:  []string{"userID"},
	value:  cookieValue{quoted: true},
	id:     idForm{form: regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)},
	decode: plainly(wire.Gob),
	reach: func(session map[string]any, now time.Time) map[string]any {
		until, ok := gobTime(session["Deadline"])
		if !ok || !until.After(now) {
			return nil
		}
		return objectAt(session, "Values")
	},
}

// gobTime reads a time.Time as it encodes itself (its MarshalBinary).
func gobTime(value any) (at time.Time, ok bool) {
	data, _ := value.([]byte)
	return at, at.UnmarshalBinary(data) == nil && len(data) >= binary.Size(int64(0))
}

// gorilla is gorilla/sessions on redistore.
var gorilla = preset{
	cookie: "session",
	key:    "session_{id}",
	users:  []string{"user_id"},
	value:  cookieValue{quoted: true},
	id:     idForm{form: regexp.MustCompile(`^[A-Z2-7]{26,104}$`)},
	sealed: sealing{open: seal.Gorilla, clocked: true, secrets: mustSecrets},
	decode: plainly(wire.Gorilla),
}

// uuids are the ids of several frameworks.
var uuids = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// fiber is gofiber's session middleware, whose ids are the keys.
var fiber = preset{
	cookie: "session_id",
	key:    "{id}",
	bare:   true,
	users:  []string{"user_id"},
	value:  cookieValue{quoted: true},
	id:     idForm{form: uuids},
	decode: plainly(wire.Gob),
}

// spring is Spring Session with a springSessionDefaultRedisSerializer that writes
// JSON, and Spring Security's users. Each attribute is a field of a hash, and so
// is the session's own clock.
var spring = preset{
	cookie: "SESSION",
	key:    "spring:session:sessions:{id}",
	users:  []string{springContext + ".authentication.principal.username", springContext + ".authentication.principal"},
	value:  cookieValue{quoted: true},
	id:     idForm{form: uuids},
	sealed: sealing{open: func([]string, seal.Clock) seal.Opener { return springID }},
	fields: wire.JSONValue,
	reach:  springSession,
}

// springContext is the field with who has logged in.
const springContext = "sessionAttr:SPRING_SECURITY_CONTEXT"

// springClock are the fields that a session's end is reckoned from.
var springClock = []string{"lastAccessedTime", "maxInactiveInterval"}

// springID is in base64. The name of a server may follow it, after a dot.
func springID(_, value, _ string) (string, error) {
	id, err := seal.Base64(value)
	if err != nil {
		return "", err
	}
	id, _, _ = strings.Cut(id, ".")
	return id, nil
}

// springSession demands a login that is authenticated, if it is Spring Security
// that says who, and that the session has not ended: a repository with an index
// keeps it five minutes longer.
func springSession(session map[string]any, now time.Time) map[string]any {
	used, idle := springNumber(session["lastAccessedTime"]), springNumber(session["maxInactiveInterval"])
	seconds, ok := milliseconds(idle)
	if !ok {
		return nil
	}
	if seconds >= 0 && !later(used, int(seconds)*1000, now) {
		return nil
	}
	if context := objectAt(session, springContext); context != nil && objectAt(context, "authentication")["authenticated"] != true {
		return nil
	}
	return session
}

// springNumber is a number, or one with its class before it.
func springNumber(value any) any {
	if typed, ok := value.([]any); ok && len(typed) == 2 {
		return typed[1]
	}
	return value
}
