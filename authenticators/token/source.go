package token

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/authenticators/foreign"
	"github.com/edgeauth/caddy-edgeauth/identity"
)

// Source is where tokens are looked up. It has one of Own, Key and Introspection.
type Source struct {
	// Own are the tokens that Edge Auth made or imported.
	Own bool `json:"own,omitempty"`

	// Key is the Redis key of another application's tokens, with {token} or
	// {sha256} (the token's SHA-256 in hex). With {token} only tokens of A-Z a-z
	// 0-9 and - _ . ~ + / = are looked up, and with / only where the key has none
	// itself, so that no token leads out of the pattern. The value is a JSON
	// object, a Redis hash, or the user id alone.
	Key string `json:"key,omitempty"`

	// Introspection asks an OAuth server (RFC 7662).
	Introspection *Introspection `json:"introspection,omitempty"`

	// User, Claims, Redis and IDPrefix take the place of the authenticator's.
	User     string               `json:"user,omitempty"`
	Claims   []identity.ClaimPath `json:"claims,omitempty"`
	Redis    string               `json:"redis,omitempty"`
	IDPrefix string               `json:"id_prefix,omitempty"`
}

// sources are those of the config, with what the authenticator says for all.
func (a *Authenticator) sources() []Source {
	if len(a.Sources) == 0 {
		return []Source{{Own: true, IDPrefix: a.IDPrefix}}
	}
	all := slices.Clone(a.Sources)
	for i := range all {
		s := &all[i]
		s.IDPrefix = cmp.Or(s.IDPrefix, a.IDPrefix)
		if !s.Own {
			s.User = cmp.Or(s.User, a.User)
			if s.Claims == nil {
				s.Claims = a.Claims
			}
			if s.Key != "" {
				s.Redis = cmp.Or(s.Redis, a.Redis)
			}
		}
	}
	return all
}

// allOwn reports whether no other application's tokens are taken.
func (a *Authenticator) allOwn() bool {
	return !slices.ContainsFunc(a.sources(), func(s Source) bool { return !s.Own })
}

// Warn tells of two kinds of ids in one space; see authenticators.Warner. A policy
// tells of those of several authenticators.
func (a *Authenticator) Warn(logger *zap.Logger) {
	prefixes := make(map[string]bool) // of ids, and whether all of these are our own
	for _, s := range a.sources() {
		own, known := prefixes[s.IDPrefix]
		if known && own != s.Own {
			logger.Warn("a token authenticator mixes own user names with ids of another application, so two people may get one id: give one of its sources an id_prefix")
			return
		}
		prefixes[s.IDPrefix] = s.Own
	}
}

func (a *Authenticator) checkSources() error {
	sources := a.sources()
	has := func(what func(Source) bool) bool { return slices.ContainsFunc(sources, what) }
	switch {
	case a.Redis != "" && !has(func(s Source) bool { return s.Key != "" }):
		return errors.New("token: redis is for the tokens of another application; name their 'key' too")
	case (a.User != "" || len(a.Claims) > 0) && a.allOwn():
		return errors.New("token: user and claim are for the tokens of another application; name their 'key' too, or 'introspect'")
	}
	owns := 0
	for _, s := range sources {
		if s.Own {
			owns++
		}
		if err := s.check(); err != nil {
			return err
		}
	}
	if owns > 1 {
		return errors.New("token: own stands twice; once is enough")
	}
	return nil
}

func (s Source) check() error {
	kinds := 0
	for _, is := range []bool{s.Own, s.Key != "", s.Introspection != nil} {
		if is {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return errors.New("token: a source is one of own, key and introspection")
	case s.Own && (s.User != "" || len(s.Claims) > 0):
		return errors.New("token: user and claim are for the tokens of another application, not for own")
	case s.Key == "" && s.Redis != "":
		return errors.New("token: redis is for the tokens of another application, which have a 'key'")
	}
	if s.Key != "" {
		if _, err := foreign.ParsePattern(s.Key, "token", "sha256"); err != nil {
			return fmt.Errorf("token: %w", err)
		}
	}
	if s.Introspection != nil {
		if err := s.Introspection.check(); err != nil {
			return err
		}
	}
	if s.IDPrefix != "" && !identity.ValidID(s.IDPrefix+"a") {
		return fmt.Errorf("token: id_prefix '%s': no control characters and no blank at the start, please", s.IDPrefix)
	}
	_, err := s.mapping()
	return err
}

// mapping says what an identity is made of; nil where the tokens are our own.
func (s Source) mapping() (*identity.Mapping, error) {
	switch {
	case s.Own:
		return nil, nil
	case s.Introspection != nil:
		return identity.NewMapping(cmp.Or(s.User, introspectedUser), s.Introspection.claims(s.Claims), s.IDPrefix)
	}
	return identity.NewMapping(cmp.Or(s.User, defaultUser), s.Claims, s.IDPrefix)
}

// longest is the longest token that it can know, in bytes.
func (s Source) longest() int {
	if s.Introspection != nil {
		return maxIntrospected
	}
	return maxToken
}

func (s Source) lookUp(host authenticators.Host, logger *zap.Logger) (lookUp, error) {
	mapping, err := s.mapping()
	if err != nil {
		return nil, err
	}
	switch {
	case s.Own:
		return newOwn(host.Store(), s.IDPrefix, logger), nil
	case s.Introspection != nil:
		return s.Introspection.lookUp(mapping, logger)
	}
	return newForeign(s, mapping, host)
}
