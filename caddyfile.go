package edgeauth

import (
	"encoding/json"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/edgeauth/caddy-edgeauth/internal/words"
	"github.com/edgeauth/caddy-edgeauth/issuer"
	"github.com/edgeauth/caddy-edgeauth/store"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("edge_auth", parseGlobal)
	httpcaddyfile.RegisterDirective("edge_auth", parseDirective)
	httpcaddyfile.RegisterDirectiveOrder("edge_auth", httpcaddyfile.After, "basic_auth")
	httpcaddyfile.RegisterHandlerDirective("edge_auth_issuer", parseIssuer)
	httpcaddyfile.RegisterDirectiveOrder("edge_auth_issuer", httpcaddyfile.After, "basic_auth") // and so before edge_auth
	httpcaddyfile.RegisterHandlerDirective("edge_auth_health", parseHealth)
	httpcaddyfile.RegisterDirectiveOrder("edge_auth_health", httpcaddyfile.After, "basic_auth") // and so before the issuer
}

// parseGlobal reads the global option:
//
//	edge_auth {
//		store <store> …
//		signing_key <file…>
//		policy <name> {
//			<policy body>
//		}
//		demo_user <name> [<group…>]
//	}
func parseGlobal(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		return nil, d.Err("the global option edge_auth stands twice; put all into one block")
	}
	app := &App{Policies: make(map[string]*Policy)}
	d.Next() // the option's name
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	blocks := policyBlocks{blocks: make(map[string]*caddyfile.Dispenser), read: app.Policies}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := app.unmarshalOption(d, &blocks); err != nil {
			return nil, err
		}
	}
	for _, name := range blocks.names {
		if _, err := blocks.policy(name); err != nil {
			return nil, err
		}
	}
	return httpcaddyfile.App{Name: "edge_auth", Value: caddyconfig.JSON(app, nil)}, nil
}

var globalOptions = []string{"demo_user", "policy", "signing_key", "store"}

func (a *App) unmarshalOption(d *caddyfile.Dispenser, policies *policyBlocks) error {
	switch option := d.Val(); option {
	case "store":
		if a.StoreRaw != nil {
			return d.Err("store stands twice; there is one")
		}
		if !d.NextArg() {
			return d.ArgErr()
		}
		raw, err := unmarshalGuest(d, store.Namespace, "store")
		a.StoreRaw = raw
		return err

	case "signing_key":
		files := d.RemainingArgs()
		if len(files) == 0 {
			return d.ArgErr()
		}
		a.SigningKeyFiles = append(a.SigningKeyFiles, files...)

	case "policy":
		return policies.add(d)

	case "demo_user":
		args := d.RemainingArgs()
		if len(args) == 0 {
			return d.ArgErr()
		}
		if a.DemoUser != nil {
			return d.Err("demo_user stands twice; there is one")
		}
		a.DemoUser = &DemoUser{Name: args[0], Groups: args[1:]}
		return words.Wrap(d, a.DemoUser.check())

	default:
		return words.Wrap(d, words.Unknown("option", option, globalOptions))
	}
	return nil
}

// parseDirective reads the directive:
//
//	edge_auth [<matcher>] [<policy> | off] {
//		<policy body>
//	}
//
// The matcher goes into the handler, not on the route: it says whom the policy
// guards, and the handler strips everybody. A route of our own making would
// also be sorted by its matcher, and run before the strip.
func parseDirective(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // the directive's name
	guarded, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	h.Next() // again: ExtractMatcherSet rewinds

	handler := new(Handler)
	if guarded != nil {
		handler.MatcherSetsRaw = caddyhttp.RawMatcherSets{guarded}
	}
	if err := handler.unmarshal(h); err != nil {
		return nil, err
	}
	var route caddy.ModuleMap
	if h.IsNamedRoute() {
		// Neighbouring routes without a matcher are merged, and of a named route
		// that is simplified so Caddy 2.11 keeps the first handler alone. A
		// matcher of its own keeps the guard.
		route = caddy.ModuleMap{"path": h.JSON(caddyhttp.MatchPath{"*"})}
	}
	return h.NewRoute(route, handler), nil
}

func (h *Handler) unmarshal(helper httpcaddyfile.Helper) error {
	d := helper.Dispenser
	policies, err := adaptedPolicies(helper)
	if err != nil {
		return err
	}
	named := newResolver(policies)
	args := d.RemainingArgs()
	if len(args) > 1 {
		return d.Errf("edge_auth takes one policy or 'off', not %d words", len(args))
	}
	if len(args) == 1 && args[0] == "off" {
		h.Off = true
	} else if len(args) == 1 {
		h.Use = args[0]
	}
	body := new(Policy)
	if h.Use != "" {
		base, err := named.policy(h.Use)
		if err != nil {
			return words.Wrap(d, err)
		}
		body.use(base)
		body.Name = h.Use + "+"
		body.ReportOnly = base.ReportOnly // it is that policy, with more lines
	}
	lines := false
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		lines = true
		if h.Off {
			return d.Errf("'off' authenticates nobody, so it has no options; found '%s'", d.Val())
		}
		if err := body.unmarshalOption(d, named); err != nil {
			return err
		}
	}
	if !lines {
		return nil
	}
	body.inherit()
	h.Use, h.Policy = "", body
	return words.Wrap(d, body.check())
}

// parseIssuer reads the directive edge_auth_issuer; see issuer.Issuer.
func parseIssuer(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	i := new(issuer.Issuer)
	return i, i.UnmarshalCaddyfile(h.Dispenser)
}

// adaptedPolicies returns the policies of the global options, and the built-in
// default where they have none.
func adaptedPolicies(helper httpcaddyfile.Helper) (map[string]*Policy, error) {
	var app App
	if option, ok := helper.Option("edge_auth").(httpcaddyfile.App); ok {
		if err := json.Unmarshal(option.Value, &app); err != nil {
			return nil, err
		}
	}
	if app.Policies == nil {
		app.Policies = make(map[string]*Policy)
	}
	if app.Policies[defaultPolicy] == nil {
		app.Policies[defaultPolicy] = ownIssuing()
	}
	return app.Policies, nil
}

func namesOf(policies map[string]*Policy) []string {
	return (&App{Policies: policies}).policyNames()
}

// unmarshalGuest lets a guest module read its own line and block.
func unmarshalGuest(d *caddyfile.Dispenser, namespace, inlineKey string) (json.RawMessage, error) {
	name := d.Val()
	if known := guestNames(namespace); !slices.Contains(known, name) {
		return nil, words.Wrap(d, words.Unknown(inlineKey, name, known))
	}
	guest, err := caddyfile.UnmarshalModule(d, namespace+"."+name)
	if err != nil {
		return nil, err
	}
	return caddyconfig.JSONModuleObject(guest, inlineKey, name, nil), nil
}

// guestNames lists the modules of a namespace, sorted.
func guestNames(namespace string) []string {
	modules := caddy.GetModules(namespace)
	names := make([]string, 0, len(modules))
	for _, module := range modules {
		names = append(names, module.ID.Name())
	}
	slices.Sort(names)
	return names
}
