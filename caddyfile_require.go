package edgeauth

import (
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgeauth/caddy-edgeauth/internal/words"
)

// unmarshalRequirement reads a requirement, whose kind is the current word:
//
//	user|group|scope|method|amr <value…>
//	claim <path> <value…>
//	max_age <duration>
//	expression <CEL>
func unmarshalRequirement(d *caddyfile.Dispenser) (Requirement, error) {
	var rule Requirement
	var err error
	switch kind := d.Val(); kind {
	case "user":
		err = words.Many(d, &rule.User)
	case "group":
		err = words.Many(d, &rule.Group)
	case "scope":
		err = words.Many(d, &rule.Scope)
	case "method":
		err = words.Many(d, &rule.Method)
	case "amr":
		err = words.Many(d, &rule.AMR)
	case "max_age":
		err = words.Duration(d, &rule.MaxAge)
	case "claim":
		if !d.NextArg() {
			return rule, d.ArgErr()
		}
		rule.Claim = d.Val()
		err = words.Many(d, &rule.Values)
	case "expression":
		rule.Expression, err = unmarshalExpression(d)
	default:
		return rule, words.Wrap(d, words.Unknown("requirement", kind, requirementKinds))
	}
	if err != nil {
		return rule, err
	}
	return rule, words.Wrap(d, rule.check())
}

// unmarshalExpression reads the rest of the line: one quoted text, or words in which
// quotes are part of the expression, as Caddy's matcher does.
func unmarshalExpression(d *caddyfile.Dispenser) (string, error) {
	if d.CountRemainingArgs() > 1 {
		return strings.Join(d.RemainingArgsRaw(), " "), nil
	}
	if !d.NextArg() {
		return "", d.ArgErr()
	}
	return d.Val(), nil
}
