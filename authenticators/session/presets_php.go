package session

import (
	"errors"
	"regexp"

	"github.com/edgeauth/caddy-edgeauth/authenticators/session/seal"
	"github.com/edgeauth/caddy-edgeauth/authenticators/session/wire"
)

// phpIDs are those that ext/session takes.
var phpIDs = idForm{form: regexp.MustCompile(`^[A-Za-z0-9,-]{22,256}$`)}

// php is ext/session on ext-redis, whatever its serialize_handler.
var php = preset{
	cookie: "PHPSESSID",
	key:    "PHPREDIS_SESSION:{id}",
	users:  []string{"user_id"},
	value:  cookieValue{escaped: true},
	id:     phpIDs,
	decode: plainly(wire.PHP),
}

// symfony is HttpFoundation's RedisSessionHandler, with the user of the firewall
// called main. The class of the user is the application's: username is that of
// Symfony's own InMemoryUser.
var symfony = preset{
	cookie: "PHPSESSID",
	key:    "sf_s{id}",
	users:  []string{"_sf2_attributes._security_main.user.username"},
	value:  cookieValue{escaped: true},
	id:     phpIDs,
	decode: plainly(wire.Symfony),
}

// laravel is the session driver redis of Laravel, with the user of the guard
// called web.
var laravel = preset{
	cookie: "laravel_session",
	key:    "laravel_database_laravel_cache:{id}",
	users:  []string{"login_web_59ba36addc2b2f9401580f014c7f58ea4e30989d"}, // the class's SHA-1
	value:  cookieValue{quoted: true, escaped: true},
	id:     idForm{form: regexp.MustCompile(`^[A-Za-z0-9]{40}$`)},
	sealed: sealing{open: seal.Laravel, secrets: mustSecrets},
	decode: secretly(laravelDecoder),
}

func laravelDecoder(secrets []string, _ seal.Clock) wire.Decoder {
	open := func([]byte) ([]byte, error) { return nil, errors.New("is encrypted, and no secret is known") }
	if len(secrets) > 0 {
		unseal := seal.LaravelValue(secrets)
		open = func(sealed []byte) ([]byte, error) {
			plain, _, err := unseal(sealed)
			return plain, err
		}
	}
	return func(session []byte) (map[string]any, error) { return wire.Laravel(session, open) }
}
