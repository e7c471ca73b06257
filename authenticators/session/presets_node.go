package session

import (
	"encoding/json"
	"regexp"
	"strconv"
	"time"

	"github.com/edgeauth/caddy-edgeauth/authenticators/session/seal"
	"github.com/edgeauth/caddy-edgeauth/authenticators/session/wire"
)

// express is express-session on connect-redis. The default users are Passport's,
// who serializes an id or an object.
var express = preset{
	cookie: "connect.sid",
	key:    "sess:{id}",
	users:  []string{"passport.user", "passport.user.id"},
	value:  cookieValue{quoted: true, escaped: true},
	sealed: sealing{open: seal.Express, secrets: mustSecrets},
	decode: plainly(wire.JSON),
}

// fastify is @fastify/session on connect-redis.
var fastify = preset{
	cookie: "sessionId",
	key:    "sess:{id}",
	users:  []string{"user.id"},
	value:  cookieValue{escaped: true},
	sealed: sealing{open: seal.Fastify, secrets: mustSecrets},
	decode: plainly(wire.JSON),
}

// koa is koa-generic-session on koa-redis, with Passport's users.
var koa = preset{
	cookie: "koa.sid",
	key:    "koa:sess:{id}",
	users:  express.users,
	value:  cookieValue{quoted: true},
	sealed: sealing{open: seal.Keygrip, beside: ".sig", secrets: mustSecrets},
	decode: plainly(wire.JSON),
}

// koaSession is koa-session with an external store: its cookie is the key, and
// the session ends by its own clock.
var koaSession = preset{
	cookie:   "koa.sess",
	key:      "koa:sess:{id}",
	users:    express.users,
	value:    cookieValue{quoted: true},
	sealed:   koa.sealed,
	wholeKey: true,
	decode:   plainly(wire.JSON),
	reach: func(session map[string]any, now time.Time) map[string]any {
		if until, ok := session["_expire"]; ok && !later(until, 0, now) {
			return nil
		}
		return session
	},
}

// hapi is @hapi/yar on catbox-redis, whose records have a clock of their own.
var hapi = preset{
	cookie: "session",
	key:    "hapi-cache:!%40hapi%2Fyar:{id}",
	users:  []string{"user.id"},
	value:  cookieValue{quoted: true},
	id:     idForm{form: regexp.MustCompile(`^[0-9A-Za-z-]{16,128}$`)},
	sealed: sealing{open: seal.Iron, clocked: true, secrets: mustSecrets},
	decode: plainly(wire.JSON),
	reach: func(record map[string]any, now time.Time) map[string]any {
		if !later(record["stored"], record["ttl"], now) {
			return nil
		}
		return objectAt(record, "item")
	},
}

// later reports whether a time and a duration after it, in milliseconds, still
// lie ahead. What is no number does not.
func later(at, after any, now time.Time) bool {
	start, ok := milliseconds(at)
	length, ok2 := milliseconds(after)
	return ok && ok2 && start+length > float64(now.UnixMilli())
}

func milliseconds(value any) (float64, bool) {
	switch n := value.(type) {
	case json.Number:
		f, err := strconv.ParseFloat(n.String(), 64)
		return f, err == nil
	case int:
		return float64(n), true
	}
	return 0, false
}
