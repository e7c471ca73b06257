package edgeauth

// A new kind of credential, or of store, is one line here.
import (
	_ "github.com/edgeauth/caddy-edgeauth/authenticators/basic"
	_ "github.com/edgeauth/caddy-edgeauth/authenticators/jwt"
	_ "github.com/edgeauth/caddy-edgeauth/authenticators/session"
	_ "github.com/edgeauth/caddy-edgeauth/authenticators/token"
	_ "github.com/edgeauth/caddy-edgeauth/store/embedded"
	_ "github.com/edgeauth/caddy-edgeauth/store/redis"
)
