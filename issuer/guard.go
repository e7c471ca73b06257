package issuer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// guard bounds wrong passwords, over all gateways that share the store: for a
// user, and for an address. Who is over the bound waits until the window ends.
//
// Anybody can make wrong guesses for somebody else. So an address from which a
// user has logged in lately has a count of its own: strangers can't lock the
// user out there.
type guard struct {
	store store.Store
	rate  Rate
	over  over
}

// familiar is how long an address counts as one of the user's.
const familiar = 30 * 24 * time.Hour

// attempt is one try to log in.
type attempt struct {
	counters []string
	place    string // of the user and the address
	familiar bool   // the user has logged in from there lately
}

// enter counts an attempt before the password is looked at, so that many at once
// can't slip by. It refuses one that is over the bound.
func (g *guard) enter(ctx context.Context, user, address string) (attempt, error) {
	user = strings.ToLower(user) // an application that is asked may not tell capitals apart
	a := attempt{place: rateKey("place", user, address)}
	byUser, byAddress := rateKey("user", user), rateKey("address", address)
	if wait := g.over.wait(byAddress); wait > 0 {
		return a, throttled(wait)
	}
	switch _, err := g.store.Get(ctx, a.place); {
	case err == nil:
		byUser, a.familiar = rateKey("user", user, address), true
	case !errors.Is(err, store.ErrNotFound):
		return a, fmt.Errorf("counting logins: %w", err)
	}
	a.counters = []string{byUser, byAddress}
	for _, counter := range a.counters {
		if wait := g.over.wait(counter); wait > 0 {
			return a, throttled(wait)
		}
		count, err := g.store.Add(ctx, counter, 1, time.Duration(g.rate.Window))
		if err != nil {
			return a, fmt.Errorf("counting logins: %w", err)
		}
		if count.Value > int64(g.rate.Attempts) {
			g.over.note(counter, count.TTL)
			return a, throttled(count.TTL)
		}
	}
	return a, nil
}

// forgive takes back what enter counted.
func (g *guard) forgive(ctx context.Context, a attempt) error {
	for _, counter := range a.counters {
		if _, err := g.store.Add(ctx, counter, -1, time.Duration(g.rate.Window)); err != nil {
			return fmt.Errorf("counting logins: %w", err)
		}
	}
	return nil
}

// succeeded forgives an attempt, and remembers where the user logs in from.
func (g *guard) succeeded(ctx context.Context, a attempt) error {
	if err := g.forgive(ctx, a); err != nil {
		return err
	}
	if err := g.store.Put(ctx, a.place, []byte("1"), familiar); err != nil {
		return fmt.Errorf("counting logins: %w", err)
	}
	return nil
}

// codeThrottled is what programs are told.
const codeThrottled = "throttled"

// throttled is Django REST framework's answer to too many requests.
func throttled(wait time.Duration) *refusal {
	unit := "seconds"
	if seconds(wait) == 1 {
		unit = "second"
	}
	return &refusal{
		status: http.StatusTooManyRequests, wait: wait,
		body: coded(fmt.Sprintf("Request was throttled. Expected available in %d %s.", seconds(wait), unit), codeThrottled),
	}
}

// rateKey names a counter. Names are hashed: a user name may be long, or a
// password that was typed in the wrong place.
func rateKey(kind string, names ...string) string {
	hash := sha256.New()
	for _, name := range names {
		sum := sha256.Sum256([]byte(name))
		hash.Write(sum[:])
	}
	return "rate:" + kind + ":" + hex.EncodeToString(hash.Sum(nil)[:16])
}

// addressOf is where a request comes from, as Caddy's trusted_proxies tell. Of an
// IPv6 address it is the network, of which one client has all.
func addressOf(r *http.Request) string {
	address := clientAddress(r)
	switch {
	case !address.IsValid():
		return clientIP(r)
	case address.Is6():
		return netip.PrefixFrom(address, 64).Masked().String()
	}
	return address.String()
}

// clientAddress is clientIP without a zone, which can be of any length.
func clientAddress(r *http.Request) netip.Addr {
	address, _ := netip.ParseAddr(clientIP(r))
	return address.Unmap().WithZone("")
}

// clientIP is the address that a request comes from, as Caddy's trusted_proxies
// tell.
func clientIP(r *http.Request) string {
	text, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return text
}
