package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// side is a store with the gateways that share it.
type side struct {
	world    *world
	gateways []*gateway
	redis    *redisServer // nil: the store is embedded
	users    []string     // who may log in

	mu    sync.Mutex // guards what follows
	live  []*credential
	ended []*credential // the youngest last
}

func (s *side) any() *gateway { return s.gateways[mathrand.IntN(len(s.gateways))] }

// credential is what a caller shows, and what is known of it.
type credential struct {
	kind    string
	side    *side
	paths   []string // where it opens
	header  [2]string
	caller  identity
	expires time.Time // zero: later than the soak
	needs   []string  // of dependency, without the gateway
	revoke  func(context.Context, *gateway) error

	mu                sync.Mutex // guards what follows
	revoking, revoked time.Time
}

func (c *credential) path() string { return c.paths[mathrand.IntN(len(c.paths))] }

// state returns when it began to be revoked, and when that was acknowledged.
func (c *credential) state() (revoking, revoked time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.revoking, c.revoked
}

// end revokes it through a gateway. If nobody acknowledges that, it may have happened
// or not: it is asked for again until somebody does.
func (c *credential) end(ctx context.Context, g *gateway) error {
	c.mu.Lock()
	c.revoking = time.Now()
	c.mu.Unlock()
	for {
		err := c.revoke(ctx, g)
		if err == nil {
			c.mu.Lock()
			c.revoked = time.Now()
			c.mu.Unlock()
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// makers make a new credential of each kind; those of applications are in Redis only.
var makers = map[string]func(*side, context.Context, string) (*credential, error){
	"own session":     (*side).ownSession,
	"opaque token":    (*side).ownToken,
	"own jwt":         (*side).ownJWT,
	"django session":  (*side).djangoSession,
	"express session": (*side).expressSession,
	"apikey":          (*side).apikey,
	"jwt HS256":       func(s *side, _ context.Context, u string) (*credential, error) { return s.foreignJWT("HS256", "", u) },
	"jwt RS256": func(s *side, _ context.Context, u string) (*credential, error) {
		return s.foreignJWT("RS256", "rsa", u)
	},
	"jwt EdDSA": func(s *side, _ context.Context, u string) (*credential, error) { return s.foreignJWT("EdDSA", "ed", u) },
}

const (
	storeDep = "store"
	keysDep  = "keys"
	usersOwn = "/any/"
)

func (s *side) ownSession(ctx context.Context, user string) (*credential, error) {
	var made struct{ Session string }
	if err := s.any().manage(ctx, http.MethodPost, "/sessions", map[string]any{"user": user, "lifetime": "6h"}, &made); err != nil {
		return nil, err
	}
	return s.sessionOf(user, made.Session), nil
}

func (s *side) sessionOf(user, id string) *credential {
	cookie := "__Host-edge_auth=" + id
	return &credential{
		kind: "own session", side: s, paths: []string{usersOwn, "/optional/"}, header: [2]string{"Cookie", cookie}, caller: whole(user), needs: []string{storeDep},
		revoke: func(ctx context.Context, g *gateway) error {
			if mathrand.IntN(2) == 0 {
				return g.post(ctx, "/logout/", map[string]string{}, nil, "Cookie", cookie)
			}
			sum := sha256.Sum256([]byte(id))
			var sessions []struct{ ID string }
			if err := g.manage(ctx, http.MethodGet, "/sessions/"+user, nil, &sessions); err != nil {
				return err
			}
			for _, one := range sessions {
				if strings.HasPrefix(fmt.Sprintf("%x", sum), one.ID) || strings.HasPrefix(base64.RawURLEncoding.EncodeToString(sum[:]), one.ID) {
					return gone(g.manage(ctx, http.MethodDelete, "/sessions/"+user+"/"+one.ID, nil, nil))
				}
			}
			return g.post(ctx, "/logout/", map[string]string{}, nil, "Cookie", cookie)
		},
	}
}

// gone takes a 404 for done: what was asked for before has happened after all.
func gone(err error) error {
	if s, ok := err.(*statusError); ok && s.status == http.StatusNotFound { //nolint:errorlint // not wrapped
		return nil
	}
	return err
}

func (s *side) ownToken(ctx context.Context, user string) (*credential, error) {
	var made struct{ Token, ID string }
	if err := s.any().manage(ctx, http.MethodPost, "/tokens", map[string]any{"user": user, "name": "soak"}, &made); err != nil {
		return nil, err
	}
	paths := []string{usersOwn, "/optional/"}
	if s.redis != nil {
		paths = append(paths, "/both/")
	}
	return &credential{
		kind: "opaque token", side: s, paths: paths, header: [2]string{"Authorization", "Token " + made.Token}, caller: whole(user), needs: []string{storeDep},
		revoke: func(ctx context.Context, g *gateway) error {
			return gone(g.manage(ctx, http.MethodDelete, "/tokens/"+made.ID, nil, nil))
		},
	}, nil
}

func (s *side) ownJWT(ctx context.Context, user string) (*credential, error) {
	lifetime := 3600
	if mathrand.IntN(3) == 0 {
		lifetime = 20 + mathrand.IntN(60)
	}
	var made struct{ JWT string }
	if err := s.any().manage(ctx, http.MethodPost, "/jwt", map[string]any{"user": user, "lifetime": fmt.Sprint(lifetime, "s")}, &made); err != nil {
		return nil, err
	}
	return s.jwtOf("own jwt", user, made.JWT, func(ctx context.Context, g *gateway) error {
		err := g.manage(ctx, http.MethodPost, "/jwt/revoke", map[string]string{"jwt": made.JWT}, nil)
		if e, ok := err.(*statusError); ok && e.status == http.StatusBadRequest && strings.Contains(e.body, "expired already") { //nolint:errorlint // not wrapped
			return nil
		}
		return err
	}), nil
}

// jwtOf is a token that a gateway has signed.
func (s *side) jwtOf(kind, user, token string, revoke func(context.Context, *gateway) error) *credential {
	return &credential{
		kind: kind, side: s, paths: []string{usersOwn, "/optional/"}, header: [2]string{"Authorization", "Bearer " + token},
		caller: whole(user), expires: endOf(token), needs: []string{storeDep}, revoke: revoke,
	}
}

// endOf reads when a JWT ends.
func endOf(token string) time.Time {
	var body struct{ Exp int64 }
	parts := strings.Split(token, ".")
	if len(parts) == 3 {
		text, _ := base64.RawURLEncoding.DecodeString(parts[1])
		_ = json.Unmarshal(text, &body)
	}
	return time.Unix(body.Exp, 0)
}

// app is whom applications take a user for: they have names of their own.
func app(user string) identity { return identity{"remote-user": user} }

func (s *side) inRedis(key, value string) error {
	_, err := s.redis.do("SET", key, value, "EX", "7200")
	return err
}

func (s *side) delete(key string) func(context.Context, *gateway) error {
	return func(context.Context, *gateway) error {
		_, err := s.redis.do("DEL", key)
		return err
	}
}

func (s *side) djangoSession(_ context.Context, user string) (*credential, error) {
	id := strings.ToLower(rand.Text() + rand.Text())[:32]
	key := ":1:django.contrib.sessions.cache" + id
	value := fmt.Sprintf(`{"_auth_user_id":%q,"_auth_user_backend":"django.contrib.auth.backends.ModelBackend","_auth_user_hash":"0123456789abcdef"}`, user)
	return &credential{
		kind: "django session", side: s, paths: []string{"/django/"}, header: [2]string{"Cookie", "theme=dark; sessionid=" + id},
		caller: app(user), needs: []string{storeDep}, revoke: s.delete(key),
	}, s.inRedis(key, value)
}

// signedByExpress is the cookie of a session, with or without a right signature.
func signedByExpress(secret, id string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(id))
	return "connect.sid=" + url.QueryEscape("s:"+id+"."+base64.RawStdEncoding.EncodeToString(mac.Sum(nil)))
}

func (s *side) expressSession(_ context.Context, user string) (*credential, error) {
	id := rand.Text() + rand.Text()
	key := "sess:" + id
	c := &credential{
		kind: "express session", side: s, paths: []string{"/express/"}, header: [2]string{"Cookie", signedByExpress(s.world.idp.secret, id)},
		caller: app(user), needs: []string{storeDep}, revoke: s.delete(key),
	}
	if mathrand.IntN(3) == 0 {
		c.paths, c.caller = []string{"/both/"}, app("app:"+user)
	}
	return c, s.inRedis(key, fmt.Sprintf(`{"cookie":{"originalMaxAge":null,"httpOnly":true,"path":"/"},"passport":{"user":%q}}`, user))
}

func (s *side) apikey(_ context.Context, user string) (*credential, error) {
	secret := rand.Text() + rand.Text()
	key := "apikey:" + secret
	return &credential{
		kind: "apikey", side: s, paths: []string{"/apikey/"}, header: [2]string{"Authorization", "Key " + secret},
		caller: app(user), needs: []string{storeDep}, revoke: s.delete(key),
	}, s.inRedis(key, fmt.Sprintf(`{"owner":{"id":%q}}`, user))
}

// foreignJWT is one of another issuer. Nobody can take it back, so some end soon.
func (s *side) foreignJWT(alg, kid, user string) (*credential, error) {
	expires := time.Now().Add(3 * time.Hour)
	if mathrand.IntN(2) == 0 {
		expires = time.Now().Add(time.Duration(20+mathrand.IntN(100)) * time.Second)
	}
	expires = expires.Truncate(time.Second)
	c := &credential{
		kind: "jwt " + alg, side: s, paths: []string{"/foreign/"}, caller: whole(user), expires: expires,
		header: [2]string{"Authorization", "Bearer " + s.world.idp.token(alg, kid, claims(user, expires))},
	}
	switch {
	case alg == "HS256":
		c.paths = []string{"/secret/"}
	case s.redis != nil && mathrand.IntN(3) == 0:
		c.paths, c.needs, c.caller = []string{"/both/"}, []string{storeDep}, maps.Clone(c.caller)
		c.caller["remote-user"] = "idp:" + user
	}
	return c, nil
}
