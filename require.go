package edgeauth

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
)

// Requirement is one rule. It holds when the caller has one of the values of
// one of its fields.
type Requirement struct {
	// User are subjects.
	User []string `json:"user,omitempty"`

	// Group are names of groups.
	Group []string `json:"group,omitempty"`

	// Scope are scopes (RFC 6749, section 3.3).
	Scope []string `json:"scope,omitempty"`

	// Claim is the path of a claim that has one of Values: it equals one, or is
	// a list that holds one. Text and whole numbers are compared by their text;
	// truth values by true and false.
	Claim string `json:"claim,omitempty"`

	// Values are those that Claim may have.
	Values []string `json:"values,omitempty"`
}

func (q Requirement) check() error {
	kinds := 0
	for _, values := range [][]string{q.User, q.Group, q.Scope, q.Values} {
		if len(values) > 0 {
			kinds++
		}
		if slices.Contains(values, "") {
			return errors.New("require: an empty value matches nobody; leave it out")
		}
	}
	if kinds != 1 || (q.Claim == "") != (len(q.Values) == 0) {
		return errors.New("require: one of 'user <name…>', 'group <name…>', 'scope <name…>', 'claim <path> <value…>' is needed")
	}
	if q.Claim != "" {
		_, err := identity.ParsePath(q.Claim)
		return err
	}
	return nil
}

// met reports whether the rule holds for who.
func (q Requirement) met(who *identity.Identity) bool {
	anyOf := func(have, want []string) bool {
		return slices.ContainsFunc(have, func(s string) bool { return slices.Contains(want, s) })
	}
	return slices.Contains(q.User, who.ID) || anyOf(who.Groups, q.Group) || anyOf(who.Scopes, q.Scope) ||
		q.Claim != "" && anyOf(claimTexts(who, q.Claim), q.Values)
}

func claimTexts(who *identity.Identity, claim string) []string {
	path, err := identity.ParsePath(claim)
	if err != nil {
		return nil
	}
	value, _ := who.Claim(path)
	if truth, ok := value.(bool); ok {
		if truth {
			return []string{"true"}
		}
		return []string{"false"}
	}
	return identity.Texts(value)
}

// authorize says whether whoever was authenticated may pass: nil, or a
// *ForbiddenError.
func (p *Policy) authorize(r *http.Request, res *result) error {
	if res.who == nil {
		return nil
	}
	if res.credential.In == authenticators.InCookie {
		if guard, ok := res.by.Authenticator.(authenticators.CookieGuard); ok {
			if err := guard.CheckOrigin(r); err != nil {
				return err
			}
		}
	}
	for _, rule := range p.Require {
		if !rule.met(res.who) {
			return &authenticators.ForbiddenError{
				Code:   authenticators.CodeDenied,
				Detail: "You do not have permission to perform this action.",
				Cause:  errors.New("not met: " + rule.String()),
			}
		}
	}
	return nil
}

// String gives the rule as it stands in a Caddyfile.
func (q Requirement) String() string {
	switch {
	case len(q.User) > 0:
		return "require user " + strings.Join(q.User, " ")
	case len(q.Group) > 0:
		return "require group " + strings.Join(q.Group, " ")
	case len(q.Scope) > 0:
		return "require scope " + strings.Join(q.Scope, " ")
	}
	return "require claim " + q.Claim + " " + strings.Join(q.Values, " ")
}
