package edgeauth

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
)

// Requirement is one rule: exactly one of its kinds is set. It holds when the
// caller has one of the values.
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

	// Method are kinds of credential, by the names of their authenticators: session,
	// token, jwt, basic.
	Method []string `json:"method,omitempty"`

	// AMR are what the login proved (RFC 8176), such as mfa, otp, hwk: values of the
	// claim amr, which our own logins have.
	AMR []string `json:"amr,omitempty"`

	// MaxAge is how long ago the login may be. A login of unknown time is too old.
	MaxAge caddy.Duration `json:"max_age,omitempty"`

	// Expression is in Caddy's Common Expression Language (CEL), as in its matcher
	// expression. auth_user() is the caller: a map of id, name, email, groups,
	// scopes, method, claims, auth_time and expires.
	Expression string `json:"expression,omitempty"`

	program *expression // Expression, compiled
}

// The kinds of requirement, as they are called in a Caddyfile.
var requirementKinds = []string{"amr", "claim", "expression", "group", "max_age", "method", "scope", "user"}

// check says what is wrong with it, if anything.
func (q *Requirement) check() error {
	kinds := 0
	for _, values := range [][]string{q.User, q.Group, q.Scope, q.Values, q.Method, q.AMR} {
		if len(values) > 0 {
			kinds++
		}
		if slices.Contains(values, "") {
			return errors.New("require: an empty value matches nobody; leave it out")
		}
	}
	if q.MaxAge != 0 {
		kinds++
	}
	if q.Expression != "" {
		kinds++
	}
	switch {
	case q.MaxAge < 0:
		return fmt.Errorf("require max_age %v: a positive duration is needed, such as 15m", time.Duration(q.MaxAge))
	case kinds != 1 || (q.Claim == "") != (len(q.Values) == 0):
		return errors.New("require: one of 'user <name…>', 'group <name…>', 'scope <name…>', 'claim <path> <value…>', " +
			"'method <authenticator…>', 'amr <value…>', 'max_age <duration>', 'expression <CEL>' is needed")
	case q.Claim != "":
		_, err := identity.ParsePath(q.Claim)
		return err
	case q.Expression != "":
		return checkExpression(q.Expression)
	case slices.ContainsFunc(q.Scope, func(s string) bool { return strings.ContainsAny(s, "\"\\ ") }):
		return errors.New("require scope: a scope has no blanks, quotes and backslashes (RFC 6749, section 3.3)")
	}
	return q.checkMethod()
}

// checkMethod notices who means the method of a request.
func (q *Requirement) checkMethod() error {
	for _, method := range q.Method {
		switch strings.ToUpper(method) {
		case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
			return fmt.Errorf("require method %s: this is about the kind of credential, such as session or jwt; "+
				"which requests are guarded is said by a matcher, such as '@write not method GET HEAD'", method)
		}
	}
	return nil
}

// provision compiles an expression.
func (q *Requirement) provision(ctx caddy.Context) error {
	if q.Expression == "" {
		return nil
	}
	var err error
	q.program, err = newExpression(ctx, q.Expression)
	return err
}

// met reports whether the rule holds for who, who makes the request r.
func (q *Requirement) met(r *http.Request, who *identity.Identity, now time.Time) bool {
	anyOf := func(have, want []string) bool {
		return slices.ContainsFunc(have, func(s string) bool { return slices.Contains(want, s) })
	}
	switch {
	case q.MaxAge != 0:
		return !who.AuthTime.IsZero() && now.Sub(who.AuthTime) <= time.Duration(q.MaxAge)
	case q.program != nil:
		return q.program.holds(r)
	case q.Claim != "":
		return anyOf(claimTexts(who, q.Claim), q.Values)
	case len(q.AMR) > 0:
		return anyOf(claimTexts(who, "amr"), q.AMR)
	}
	return slices.Contains(q.User, who.ID) || slices.Contains(q.Method, who.Method) ||
		anyOf(who.Groups, q.Group) || anyOf(who.Scopes, q.Scope)
}

func claimTexts(who *identity.Identity, claim string) []string {
	path, err := identity.ParsePath(claim)
	if err != nil {
		return nil
	}
	value, _ := who.Claim(path)
	if truth, ok := value.(bool); ok {
		return []string{strconv.FormatBool(truth)}
	}
	return identity.Texts(value)
}

// authorize says whether whoever was authenticated may pass: nil, or a
// *ForbiddenError.
func (p *Policy) authorize(r *http.Request, s *state, res *result) error {
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
	if len(p.Require) == 0 {
		return nil
	}
	before := s.who
	s.who = res.who // whom placeholders in an expression mean,
	forgetOthers(r) // and nobody else
	defer func() { s.who = before }()
	now := time.Now()
	for i := range p.Require {
		if rule := &p.Require[i]; !rule.met(r, res.who, now) {
			res.unmet = rule
			return p.notMet(rule, res)
		}
	}
	return nil
}

// notMet is the refusal of a caller whom a rule keeps out.
func (p *Policy) notMet(rule *Requirement, res *result) error {
	forbidden := &authenticators.ForbiddenError{
		Code:   authenticators.CodeDenied,
		Detail: "You do not have permission to perform this action.",
		Cause:  errors.New("not met: " + rule.String()),
	}
	c, ok := res.by.Authenticator.(authenticators.Challenger)
	challenge := func(code, parameter string) {
		if ok && authenticators.IsBearer(c.Challenge()) { // no other scheme has words for this
			forbidden.Challenge = authenticators.Problem(c.Challenge(), code, forbidden.Detail) + parameter
		}
	}
	switch {
	case len(rule.Scope) > 0: // RFC 6750, section 3.1
		challenge("insufficient_scope", `, scope="`+strings.Join(rule.Scope, " ")+`"`)
	case rule.MaxAge != 0: // RFC 9470, section 3
		forbidden.Code, forbidden.Detail = codeLoginAgain, "Log in again: the last login was too long ago."
		challenge(codeLoginAgain, `, max_age="`+strconv.Itoa(int(time.Duration(rule.MaxAge).Seconds()))+`"`)
	case len(rule.AMR) > 0:
		forbidden.Code, forbidden.Detail = codeLoginAgain, "Log in again, with what this page asks for: "+strings.Join(rule.AMR, " or ")+"."
		challenge(codeLoginAgain, "")
	}
	return forbidden
}

// codeLoginAgain says that the login is too old or too weak (RFC 9470, section 3).
const codeLoginAgain = "insufficient_user_authentication"

// kind is what it is called in a Caddyfile.
func (q *Requirement) kind() string {
	_, rest, _ := strings.Cut(q.String(), " ")
	kind, _, _ := strings.Cut(rest, " ")
	return kind
}

// String gives the rule as it stands in a Caddyfile.
func (q *Requirement) String() string {
	switch {
	case len(q.User) > 0:
		return "require user " + strings.Join(q.User, " ")
	case len(q.Group) > 0:
		return "require group " + strings.Join(q.Group, " ")
	case len(q.Scope) > 0:
		return "require scope " + strings.Join(q.Scope, " ")
	case len(q.Method) > 0:
		return "require method " + strings.Join(q.Method, " ")
	case len(q.AMR) > 0:
		return "require amr " + strings.Join(q.AMR, " ")
	case q.MaxAge != 0:
		return "require max_age " + time.Duration(q.MaxAge).String()
	case q.Expression != "":
		return "require expression " + q.Expression
	}
	return "require claim " + q.Claim + " " + strings.Join(q.Values, " ")
}
