package issuer

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/edgeauth/caddy-edgeauth/internal/words"
	"github.com/edgeauth/caddy-edgeauth/records"
)

// The values of token_type, as SimpleJWT has them.
const (
	accessType  = "access"
	refreshType = "refresh"
)

// pair is what a client gets of a login. Refresh is empty where it keeps the one
// that it has.
type pair struct {
	access, refresh               string
	accessExpires, refreshExpires time.Time
}

// newJTI names a token: 32 hex digits, as in SimpleJWT.
func newJTI() string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	return hex.EncodeToString(random[:])
}

// newLogin begins a login of a user, and keeps it. proved is how it was made, as
// amr says it (RFC 8176).
func (i *Issuer) newLogin(ctx context.Context, user records.User, proved []string) (records.Login, error) {
	now := i.second()
	authTime, err := i.loginTime(ctx, user.ID)
	if err != nil {
		return records.Login{}, err
	}
	login := records.Login{
		ID: records.NewLoginID(), User: user.ID, AuthTime: authTime, Methods: proved,
		Current: newJTI(), Access: newJTI(), Issued: now, Expires: now.Add(time.Duration(i.JWT.RefreshLifetime)),
	}
	if err := records.PutLogin(ctx, i.store, login, now); err != nil {
		return login, fmt.Errorf("keeping the login: %w", err)
	}
	return login, nil
}

// second is now as tokens tell the time.
func (i *Issuer) second() time.Time { return i.now().UTC().Truncate(time.Second) }

// tokensOf makes the tokens of a login. Made again, they say the same. given are
// the claims of the refresh token that was used: what else it says is passed on,
// as SimpleJWT does.
func (i *Issuer) tokensOf(ctx context.Context, login records.Login, user records.User, given map[string]any) (pair, error) {
	if err := i.host.EnsureSigningKeys(ctx); err != nil {
		return pair{}, fmt.Errorf("signing: %w", err)
	}
	p := pair{
		accessExpires:  login.Issued.Add(time.Duration(i.JWT.AccessLifetime)),
		refreshExpires: login.Expires,
	}
	claims := maps.Clone(given)
	if claims == nil {
		claims = make(map[string]any)
	}
	delete(claims, "iss") // ours, or none: tokens are revoked by it
	maps.Copy(claims, i.claimsOf(login, user))
	var err error
	if p.refresh, err = i.sign(claims, refreshType, login.Current, login.Issued, p.refreshExpires); err != nil {
		return p, err
	}
	for name, value := range map[string]string{"name": user.Name, "email": user.Email} {
		if delete(claims, name); value != "" {
			claims[name] = value
		}
	}
	if delete(claims, "groups"); len(user.Groups) > 0 {
		claims["groups"] = user.Groups
	}
	for _, claim := range i.JWT.Claims {
		if delete(claims, claim.Name); userFields[claim.Field](user) != nil {
			claims[claim.Name] = userFields[claim.Field](user)
		}
	}
	p.access, err = i.sign(claims, accessType, login.Access, login.Issued, p.accessExpires)
	return p, err
}

// userFields are the fields of a user that claims are made of; nil if empty.
var userFields = map[string]func(records.User) any{
	"id":    func(u records.User) any { return orNil(u.ID) },
	"pk":    func(u records.User) any { return orNil(u.PK) },
	"name":  func(u records.User) any { return orNil(u.Name) },
	"email": func(u records.User) any { return orNil(u.Email) },
	"groups": func(u records.User) any {
		if len(u.Groups) == 0 {
			return nil
		}
		return u.Groups
	},
}

func orNil(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// ownClaims are those that say what a token is, and that nothing else may fill.
var ownClaims = []string{"token_type", "exp", "iat", "nbf", "jti", "user_id", "sub", "sid", "iss", "aud", "auth_time", "amr", "cnf"}

func (c Claim) check() error {
	if c.Name == "" || slices.Contains(ownClaims, c.Name) {
		return fmt.Errorf("claim '%s': the issuer fills that itself; another name is needed", c.Name)
	}
	if userFields[c.Field] == nil {
		return fmt.Errorf("claim %s: %w", c.Name, words.Unknown("field", c.Field, slices.Sorted(maps.Keys(userFields))))
	}
	return nil
}

// claimsOf are those that both tokens of a login have.
func (i *Issuer) claimsOf(login records.Login, user records.User) map[string]any {
	claims := map[string]any{"user_id": cmp.Or(user.PK, user.ID), "sub": user.ID, "auth_time": login.AuthTime.Unix(), "sid": login.ID}
	if len(login.Methods) > 0 {
		claims["amr"] = login.Methods
	}
	if i.Issuer != "" {
		claims["iss"] = i.Issuer
	}
	switch len(i.JWT.Audience) {
	case 0:
	case 1:
		claims["aud"] = i.JWT.Audience[0]
	default:
		claims["aud"] = i.JWT.Audience
	}
	return claims
}

func (i *Issuer) sign(claims map[string]any, kind, jti string, issued, expires time.Time) (string, error) {
	claims["token_type"], claims["jti"], claims["iat"], claims["exp"] = kind, jti, issued.Unix(), expires.Unix()
	data, err := marshalClaims(claims)
	if err != nil {
		return "", err
	}
	return i.ring.Sign(data, "JWT")
}

// simpleOrder is how SimpleJWT orders its claims; others follow.
var simpleOrder = []string{"token_type", "exp", "iat", "jti", "user_id"}

func marshalClaims(claims map[string]any) ([]byte, error) {
	rank := func(name string) int {
		if at := slices.Index(simpleOrder, name); at >= 0 {
			return at
		}
		return len(simpleOrder)
	}
	names := slices.SortedFunc(maps.Keys(claims), func(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b)) })
	var out bytes.Buffer
	out.WriteByte('{')
	for n, name := range names {
		if n > 0 {
			out.WriteByte(',')
		}
		for _, part := range []any{name, claims[name]} {
			data, err := json.Marshal(part)
			if err != nil {
				return nil, err
			}
			out.Write(data)
			out.WriteByte(':')
		}
		out.Truncate(out.Len() - 1)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}
