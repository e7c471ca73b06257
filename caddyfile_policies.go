package edgeauth

import (
	"errors"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgeauth/caddy-edgeauth/internal/words"
)

// policyBlocks are the named policies of the global options. A block is read when the
// policy is first asked for, so that 'use' may name one that stands further down.
type policyBlocks struct {
	blocks map[string]*caddyfile.Dispenser
	names  []string // as they stand in the Caddyfile
	read   map[string]*Policy
	under  []string // those being read, against a cycle
}

// add notes the block of 'policy <name> { … }'.
func (b *policyBlocks) add(d *caddyfile.Dispenser) error {
	block := d.NewFromNextSegment()
	block.Next()
	var name string
	if !block.AllArgs(&name) {
		return block.ArgErr()
	}
	if err := checkPolicyName(name); err != nil {
		return words.Wrap(block, err)
	}
	if b.blocks[name] != nil {
		return block.Errf("two policies are called '%s'; give one another name", name)
	}
	b.blocks[name] = block
	b.names = append(b.names, name)
	return nil
}

func (b *policyBlocks) policy(name string) (*Policy, error) {
	if done := b.read[name]; done != nil {
		return done, nil
	}
	block := b.blocks[name]
	if block == nil {
		if name == defaultPolicy {
			return ownIssuing(), nil
		}
		return nil, words.Unknown("policy", name, b.names)
	}
	if err := enter(&b.under, name); err != nil {
		return nil, err
	}
	defer leave(&b.under)
	p := new(Policy)
	if err := p.unmarshalBody(block, b); err != nil {
		return nil, placedError{err}
	}
	if err := p.check(); err != nil {
		return nil, placedError{block.WrapErr(err)}
	}
	b.read[name] = p
	return p, nil
}

// placedError says already where in the Caddyfile it is.
type placedError struct{ error }

// wrapUse adds the place of 'use' to an error that has none.
func wrapUse(d *caddyfile.Dispenser, err error) error {
	if placed, ok := errors.AsType[placedError](err); ok {
		return placed
	}
	return d.WrapErr(err)
}
