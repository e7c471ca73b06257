package session

import (
	"regexp"
	"time"

	"github.com/edgeauth/caddy-edgeauth/authenticators/session/seal"
	"github.com/edgeauth/caddy-edgeauth/authenticators/session/wire"
)

// djangoIDs are those that Django makes.
var djangoIDs = idForm{form: regexp.MustCompile(`^[a-z0-9]{32}$`)}

// django is django.contrib.sessions.backends.cache on Django's own Redis cache or
// on django-redis, with the default prefix and version. With secrets, it takes
// signed sessions as well.
var django = preset{
	cookie: "sessionid",
	key:    ":1:django.contrib.sessions.cache{id}",
	users:  []string{"_auth_user_id"},
	value:  cookieValue{quoted: true},
	id:     djangoIDs,
	sealed: sealing{secrets: maySecrets},
	decode: secretly(djangoDecoder),
	reach:  djangoLogin,
}

// djangoSigned is django-redis-sessions, which keeps what Django's signing makes.
var djangoSigned = preset{
	cookie: "sessionid",
	key:    "{id}",
	bare:   true,
	users:  []string{"_auth_user_id"},
	value:  cookieValue{quoted: true},
	id:     djangoIDs,
	sealed: sealing{secrets: mustSecrets},
	decode: secretly(djangoSignedDecoder),
	reach:  djangoLogin,
}

func djangoSignedDecoder(secrets []string, _ seal.Clock) wire.Decoder {
	open := seal.Django(secrets)
	return func(session []byte) (map[string]any, error) {
		payload, err := open(session)
		if err != nil {
			return nil, err
		}
		return wire.Python(payload)
	}
}

// djangoSignedForm is that of a signed session, and of nothing that a cache holds.
var djangoSignedForm = regexp.MustCompile(`^\.?[A-Za-z0-9_-]+:[A-Za-z0-9]+:[A-Za-z0-9_-]{43}$`)

func djangoDecoder(secrets []string, now seal.Clock) wire.Decoder {
	if len(secrets) == 0 {
		return wire.Python
	}
	signed := djangoSignedDecoder(secrets, now)
	return func(session []byte) (map[string]any, error) {
		if djangoSignedForm.Match(session) {
			return signed(session)
		}
		return wire.Python(session)
	}
}

// djangoLogin demands what Django demands (django.contrib.auth.get_user): the
// user's key, the backend that logged in, and the hash that ends a session when
// the password changes.
func djangoLogin(session map[string]any, _ time.Time) map[string]any {
	for _, name := range []string{"_auth_user_id", "_auth_user_backend", "_auth_user_hash"} {
		if text, ok := session[name].(string); !ok || text == "" {
			return nil
		}
	}
	return session
}

// flask is Flask-Session 0.3 to 0.8 with Flask-Login. With secrets, the cookie
// must be signed (SESSION_USE_SIGNER).
var flask = preset{
	cookie: "session",
	key:    "session:{id}",
	users:  []string{"_user_id"},
	value:  cookieValue{quoted: true},
	id:     idForm{form: regexp.MustCompile(`^[A-Za-z0-9_-]{22,128}$`)},
	sealed: sealing{open: seal.Itsdangerous, secrets: maySecrets},
	decode: plainly(wire.Python),
}

// aiohttp is aiohttp-session's RedisStorage.
var aiohttp = preset{
	cookie: "AIOHTTP_SESSION",
	key:    "AIOHTTP_SESSION_{id}",
	users:  []string{"user_id"},
	value:  cookieValue{quoted: true},
	id:     idForm{form: regexp.MustCompile(`^[0-9a-f]{32}$`)},
	decode: plainly(wire.JSON),
	reach:  func(session map[string]any, _ time.Time) map[string]any { return objectAt(session, "session") },
}

// objectAt is the object that stands in another; nil if there is none.
func objectAt(session map[string]any, name string) map[string]any {
	object, _ := session[name].(map[string]any)
	return object
}
