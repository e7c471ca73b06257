package authenticators

import (
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgeauth/caddy-edgeauth/internal/words"
)

// CSRF says how requests are checked whose credential is a cookie: a browser
// sends it along with the requests of any site. Unsafe methods pass when the
// browser says, in Sec-Fetch-Site or Origin, that they come from this site or
// a trusted one; programs that are no browsers send neither.
type CSRF struct {
	// Off leaves the check to the application behind.
	Off bool `json:"off,omitempty"`

	// TrustedOrigins are other sites that may make unsafe requests, such as
	// https://app.example.com.
	TrustedOrigins []string `json:"trusted_origins,omitempty"`
}

// Check says what is wrong with it, if anything.
func (c *CSRF) Check() error {
	_, err := c.protection()
	return err
}

func (c *CSRF) protection() (*http.CrossOriginProtection, error) {
	protection := http.NewCrossOriginProtection()
	if c == nil {
		return protection, nil
	}
	if c.Off && len(c.TrustedOrigins) > 0 {
		return nil, fmt.Errorf("csrf off trusts every origin; leave trusted_origins out")
	}
	for _, origin := range c.TrustedOrigins {
		if err := protection.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("csrf: trusted origin '%s': scheme and host are needed, such as https://app.example.com", origin)
		}
	}
	return protection, nil
}

// OriginCheck makes the check of requests; nil if it is off.
func (c *CSRF) OriginCheck() (func(*http.Request) error, error) {
	if c != nil && c.Off {
		return nil, c.Check()
	}
	protection, err := c.protection()
	if err != nil {
		return nil, err
	}
	return func(r *http.Request) error {
		if err := protection.Check(r); err != nil {
			return &ForbiddenError{Code: CodeCSRF, Detail: "CSRF Failed: Origin checking failed.", Cause: err}
		}
		return nil
	}, nil
}

// UnmarshalCaddyfile reads: csrf [off] { trusted_origins <origin…> }
func (c *CSRF) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		if d.Val() != "off" || d.NextArg() {
			return d.ArgErr()
		}
		c.Off = true
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if d.Val() != "trusted_origins" {
			return words.Wrap(d, words.Unknown("csrf option", d.Val(), []string{"trusted_origins"}))
		}
		origins := d.RemainingArgs()
		if len(origins) == 0 {
			return d.ArgErr()
		}
		c.TrustedOrigins = append(c.TrustedOrigins, origins...)
	}
	return words.Wrap(d, c.Check())
}
