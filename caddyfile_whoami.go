package edgeauth

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/edgeauth/caddy-edgeauth/internal/words"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("edge_auth_whoami", parseWhoami)
	// After edge_auth, which is after basic_auth, and before whatever answers: handle too.
	httpcaddyfile.RegisterDirectiveOrder("edge_auth_whoami", httpcaddyfile.Before, "forward_auth")
}

func parseWhoami(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Whoami)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

var whoamiOptions = []string{"claims"}

// UnmarshalCaddyfile reads the directive:
//
//	edge_auth_whoami [<matcher>] {
//		claims <path…>
//	}
func (h *Whoami) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch option := d.Val(); option {
		case "claims":
			if err := words.Many(d, &h.Claims); err != nil {
				return err
			}
			if err := words.Wrap(d, h.check()); err != nil {
				return err
			}
		default:
			return words.Wrap(d, words.Unknown("option", option, whoamiOptions))
		}
	}
	return nil
}

var _ caddyfile.Unmarshaler = (*Whoami)(nil)
