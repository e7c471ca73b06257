package edgeauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/certmagic"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/cache"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/audit"
	"github.com/edgeauth/caddy-edgeauth/internal/words"
	"github.com/edgeauth/caddy-edgeauth/keys"
	"github.com/edgeauth/caddy-edgeauth/store"
)

func init() {
	caddy.RegisterModule(new(App))
}

// App holds what all edge_auth handlers share: the store, the signing keys and
// the named policies. What is costly to open lives on across reloads.
type App struct {
	// Store is where sessions, tokens, users and revocations live. Default: the
	// embedded store, one file in Caddy's data folder.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=edge_auth.stores inline_key=store"`

	// SigningKeyFiles are files with private keys (PEM or JWK), or placeholders that
	// give one. The first signs, all verify. Default: an EdDSA key is made at
	// first use and kept in Caddy's storage.
	SigningKeyFiles []string `json:"signing_keys,omitempty"`

	// Policies are the named policies. "default" is what a handler without a
	// policy follows; unless it is given here, it is token, jwt and session of
	// our own issuing.
	Policies map[string]*Policy `json:"policies,omitempty"`

	// DemoUser makes a user at the first start, with a random password and a
	// token that are printed to the log once. For trying things out only.
	DemoUser *DemoUser `json:"demo_user,omitempty"`

	builtIn   *Policy   // "default", where the config gives none
	declared  *resolver // the policies as the config has them, for those that use them
	store     *watchedStore
	stores    []*watchedStore // that and others that authenticators name, once each
	storeKey  string          // all that defines the store
	cache     *cache.Cache
	refusals  *cache.Cache
	maxAge    time.Duration // of what is in cache
	ring      *ownKeys
	explained *explanations // the last refusals
	storage   certmagic.Storage
	logger    *zap.Logger
	audit     *audit.Log

	// Written while the config is loaded, read by requests of this config. The
	// names may still grow while another server already serves.
	names   atomic.Pointer[identity.Names]
	servers map[*caddyhttp.Server]struct{}

	idClaims []string // by which policies know the JWTs that were revoked

	keySets []*keys.Remote // of issuers, once each

	releases []func() error
	served   bool            // requests may have come
	started  context.Context //nolint:containedctx // bounds what Start leaves running
	stop     context.CancelFunc
}

// defaultPolicy is the policy that a handler without any follows.
const defaultPolicy = "default"

// pool holds what lives on across reloads: stores, key sets, signing keys.
var pool = caddy.NewUsagePool()

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "edge_auth",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision makes everything ready, but opens nothing: `caddy validate` runs it
// beside a running Caddy.
func (a *App) Provision(ctx caddy.Context) error {
	if err := a.check(); err != nil {
		return err
	}
	a.logger = ctx.Logger()
	a.audit = audit.New(ctx.Logger(new(Handler)).Named("audit")) // a name that 'log' can include
	a.storage = ctx.Storage()
	a.servers = make(map[*caddyhttp.Server]struct{})
	a.started, a.stop = context.WithCancel(context.Background())
	a.addHeaderNames(nil)

	if err := registerMetrics(ctx); err != nil {
		return err
	}
	var err error
	if a.explained, err = pooled(a, "explanations", func() (*explanations, error) { return new(explanations), nil }); err != nil {
		return err
	}
	if err := a.provisionStore(ctx); err != nil {
		return err
	}
	if err := a.provisionKeys(); err != nil {
		return err
	}
	return a.provisionPolicies(ctx)
}

func (a *App) provisionPolicies(ctx caddy.Context) error {
	a.declared = newResolver(maps.Clone(a.Policies))
	for _, name := range a.policyNames() {
		whole, err := a.declared.policy(name)
		if err != nil {
			return err
		}
		p := whole.clone()
		if err := p.provision(ctx, a, name); err != nil {
			return fmt.Errorf("policy '%s': %w", name, err)
		}
		a.Policies[name] = p
	}
	return nil
}

func (a *App) check() error {
	for name, policy := range a.Policies {
		if err := checkPolicyName(name); err != nil {
			return err
		}
		if policy == nil {
			return fmt.Errorf("policy '%s' is empty", name)
		}
	}
	if a.DemoUser != nil {
		return a.DemoUser.check()
	}
	return nil
}

// checkPolicyName refuses what would read as something else behind edge_auth.
func checkPolicyName(name string) error {
	if name == "" || name == "off" || name == inlineName || strings.ContainsAny(name, "/@*{} \t") {
		return fmt.Errorf("a policy can't be called '%s'; a plain word is needed", name)
	}
	return nil
}

func (a *App) provisionStore(ctx caddy.Context) error {
	if a.StoreRaw == nil {
		a.StoreRaw = json.RawMessage(`{"store":"embedded"}`)
	}
	guest, err := ctx.LoadModule(a, "StoreRaw")
	if err != nil {
		return fmt.Errorf("loading store: %w", err)
	}
	provider, ok := guest.(store.Provider)
	if !ok {
		return fmt.Errorf("module %T is no store", guest)
	}
	if w, ok := guest.(authenticators.Warner); ok {
		w.Warn(a.logger)
	}
	a.storeKey = provider.Key()
	if a.store, err = a.openStore(provider); err != nil {
		return err
	}
	return a.provisionCache(provider)
}

// provisionCache takes the caches for what is found out. They live on across reloads
// that leave their size as it is.
func (a *App) provisionCache(provider store.Provider) error {
	settings := store.Cache{Entries: store.DefaultCacheEntries, MaxAge: store.DefaultCacheMaxAge}
	if p, ok := provider.(store.CacheProvider); ok {
		settings = p.Caching()
	}
	a.maxAge = settings.MaxAge
	var err error
	if a.cache, err = a.openCache(cacheOfFindings, settings.Entries); err != nil {
		return err
	}
	a.refusals, err = a.openCache(cacheOfRefusals, min(settings.Entries, maxRefusals))
	return err
}

// What the caches are called, in the pool and in metrics.
const (
	cacheOfFindings = "findings"
	cacheOfRefusals = "refusals"
)

func (a *App) openCache(what string, entries int) (*cache.Cache, error) {
	return pooled(a, fmt.Sprintf("%s%s %d", cachePrefix, what, entries), func() (*cache.Cache, error) { return cache.New(entries), nil })
}

// pooled takes a value from the pool, or makes it, and sees to it that Cleanup
// gives back what was taken, and only that.
func pooled[T caddy.Destructor](a *App, key string, make func() (T, error)) (T, error) {
	value, _, err := pool.LoadOrNew(key, func() (caddy.Destructor, error) { return make() })
	if err != nil {
		var none T
		return none, err
	}
	a.releases = append(a.releases, func() error {
		_, err := pool.Delete(key)
		return err
	})
	return value.(T), nil
}

// Start looks at what has been loaded, and lets the store be tried: an outage
// is told, but keeps nothing from starting.
func (a *App) Start() error {
	a.served = true
	for server := range a.servers {
		k := walked(server)
		k.warnOfLeaks(a.logger)
		k.warnOfLoginLoops(a.logger)
	}
	if opener, ok := a.store.Handle.(interface{ Open() error }); ok {
		// A file that can't be opened is a mistake, not an outage.
		if err := opener.Open(); err != nil {
			return fmt.Errorf("opening the store: %w", err)
		}
	}
	go a.settle(a.started)
	go a.advise(a.started)
	return nil
}

// settle does what may wait for the network. It ends by itself, at the latest
// when the app is cleaned up.
func (a *App) settle(ctx context.Context) {
	for _, s := range a.stores {
		_ = s.Ping(ctx) // the store itself tells of an outage
	}
	a.ring.settle(ctx, a.storage, a.logger)
	if a.DemoUser != nil {
		a.DemoUser.settle(ctx, a)
	}
}

// adviseEvery is how often a store that does not answer is asked again.
const adviseEvery = 5 * time.Second

// advise warns of what endangers the records in the store, as soon as that
// answers. It ends by itself, at the latest when the app is cleaned up.
func (a *App) advise(ctx context.Context) {
	adviser, ok := a.store.Handle.(store.Adviser)
	for ok && ctx.Err() == nil {
		advice, err := adviser.Advise(ctx)
		if err == nil {
			for _, danger := range advice {
				a.logger.Warn(danger)
			}
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(adviseEvery):
		}
	}
}

// Stop does nothing: requests may still be under way, and need the store.
func (a *App) Stop() error { return nil }

// Cleanup gives back what Provision took; where requests may still be under way, after
// a while.
func (a *App) Cleanup() error {
	if a.stop != nil {
		a.stop()
	}
	releases := a.releases
	a.releases = nil
	release := func() error {
		a.audit.Close()
		var errs []error
		for _, one := range slices.Backward(releases) {
			errs = append(errs, one())
		}
		return errors.Join(errs...)
	}
	if a.served && !caddy.Exiting() {
		lingering.add(lingerFor, func() {
			if err := release(); err != nil {
				a.logger.Error("closing what the config before has used", zap.Error(err))
			}
		})
		return nil
	}
	err := release()
	if caddy.Exiting() { // by now the last request has been answered
		lingering.flush()
	}
	return err
}

func (a *App) policyNames() []string {
	names := make([]string, 0, len(a.Policies))
	for name := range a.Policies {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// policyNamed returns a policy; empty is "default", which is made for the first
// handler that asks for it where the config has none.
func (a *App) policyNamed(ctx caddy.Context, name string) (*Policy, error) {
	if name == "" {
		name = defaultPolicy
	}
	if p := a.Policies[name]; p != nil {
		return p, nil
	}
	if name != defaultPolicy {
		return nil, words.Unknown("policy", name, a.policyNames())
	}
	if a.builtIn == nil {
		a.builtIn = ownIssuing()
		return a.builtIn, a.builtIn.provision(ctx, a, name)
	}
	return a.builtIn, nil
}

// ownIssuing is the policy for all that we issue ourselves. Headers come before
// the cookie, so that an old cookie breaks no API client.
func ownIssuing() *Policy {
	return &Policy{AuthenticatorsRaw: []json.RawMessage{
		json.RawMessage(`{"authenticator":"token"}`),
		json.RawMessage(`{"authenticator":"jwt"}`),
		json.RawMessage(`{"authenticator":"session"}`),
	}}
}

// addHeaderNames adds to the headers that no client may send to any site.
func (a *App) addHeaderNames(names []string) {
	known := identity.WellKnown()
	if before := a.names.Load(); before != nil {
		known = *before
	}
	union := known.Union(identity.NewNames(names...))
	a.names.Store(&union)
}

// begin gives the request's state, and strips what the client may not send.
func (a *App) begin(r *http.Request, p *Policy) *state {
	s := stateOf(r)
	var keep identity.Names
	var trailers []string
	if p != nil {
		keep, trailers = p.keep, p.AllowTrailer
	}
	s.strip(r, *a.names.Load(), keep, trailers)
	return s
}

var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
