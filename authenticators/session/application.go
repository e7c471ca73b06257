package session

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/authenticators/foreign"
	"github.com/edgeauth/caddy-edgeauth/authenticators/session/seal"
	"github.com/edgeauth/caddy-edgeauth/authenticators/session/wire"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/words"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// application reads the sessions of an application.
type application struct {
	preset

	pattern   foreign.Pattern
	open      seal.Opener // nil: the cookie holds the id as it is
	openLater seal.Opener // the same, a while from now; nil: that makes no difference
	reader    wire.Decoder
	readLater wire.Decoder // as openLater
	mappings  []*identity.Mapping
	names     []string // the fields of a hash that are of interest
	store     store.Foreign
	touch     time.Duration
	basis     uint64 // of what it finds: the secrets
	logger    *zap.Logger
	told      atomic.Int64 // when it was last logged that a session could not be read
	now       func() time.Time
}

// completed is the preset with the config's own options in place of its
// defaults.
func (a *Authenticator) completed() (preset, error) {
	p, ok := presets[a.Preset]
	if !ok {
		return p, fmt.Errorf("session: %w", words.Unknown("session preset", a.Preset, presetNames()))
	}
	if a.Signature != "" {
		signed, ok := signatures[a.Signature]
		switch {
		case a.Preset != customPreset:
			return p, fmt.Errorf("session %s: 'signature' is for 'session custom'; the preset knows how its cookies are signed", a.Preset)
		case !ok:
			return p, fmt.Errorf("session: %w", words.Unknown("signature", a.Signature, namesOf(signatures)))
		}
		p.value, p.sealed = signed.value, signed.sealed
		p.sealed.secrets = mustSecrets
	}
	p.cookie = cmp.Or(a.Cookie, p.cookie)
	p.key = cmp.Or(a.Key, p.key)
	if a.User != "" {
		p.users = []string{a.User}
	}
	if a.Decode != "" {
		decode, ok := decoders[a.Decode]
		switch {
		case !ok:
			return p, fmt.Errorf("session: %w", words.Unknown("format", a.Decode, namesOf(decoders)))
		case p.fields != nil:
			return p, fmt.Errorf("session %s: its sessions are hashes of JSON; remove 'decode'", a.Preset)
		}
		p.decode = decode
	}
	if p.cookie == "" || p.key == "" || len(p.users) == 0 || p.decode.reader == nil && p.fields == nil {
		return p, errors.New("session custom: cookie, key, decode and user are all needed")
	}
	return p, nil
}

// checkApplication refuses what can't be meant.
func (a *Authenticator) checkApplication() error {
	p, err := a.completed()
	if err != nil {
		return err
	}
	switch {
	case p.sealed.secrets == noSecrets && len(a.Secrets) > 0:
		return fmt.Errorf("session %s: the cookies of this preset are not signed; remove 'secret'", a.Preset)
	case p.sealed.secrets == mustSecrets && len(a.Secrets) == 0:
		return fmt.Errorf("session %s: 'secret' is needed, the one that the application signs with, such as secret {env.SESSION_SECRET}", a.Preset)
	case slices.Contains(a.Secrets, ""):
		return fmt.Errorf("session %s: an empty secret signs nothing; the application's is needed", a.Preset)
	}
	if _, err := p.pattern(); err != nil {
		return fmt.Errorf("session: %w", err)
	}
	_, err = a.mappings(p)
	return err
}

// pattern is where sessions are kept.
func (p preset) pattern() (foreign.Pattern, error) {
	if p.bare && p.key == "{id}" {
		return foreign.Bare("id"), nil
	}
	return foreign.ParsePattern(p.key, "id")
}

// mappings are one for each place where the user id may stand.
func (a *Authenticator) mappings(p preset) ([]*identity.Mapping, error) {
	mappings := make([]*identity.Mapping, len(p.users))
	for i, user := range p.users {
		m, err := identity.NewMapping(user, a.Claims, a.IDPrefix)
		if err != nil {
			return nil, fmt.Errorf("session: %w", err)
		}
		m.Negative = true
		mappings[i] = m
	}
	return mappings, nil
}

func (a *Authenticator) application(host authenticators.Host) (*application, error) {
	p, err := a.completed()
	if err != nil {
		return nil, err
	}
	secrets, err := a.secrets()
	if err != nil {
		return nil, err
	}
	app := &application{preset: p, touch: time.Duration(a.Touch), logger: a.logger, now: a.now}
	if p.sealed.open != nil && (len(secrets) > 0 || p.sealed.secrets == noSecrets) {
		app.open = p.sealed.open(secrets, seal.Clock(a.now))
		if p.sealed.clocked {
			app.openLater = p.sealed.open(secrets, app.later)
		}
	}
	if app.pattern, err = p.pattern(); err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	if app.mappings, err = a.mappings(p); err != nil {
		return nil, err
	}
	app.basis = basisOf(secrets)
	if p.decode.reader != nil {
		app.reader = p.decode.reader(secrets, seal.Clock(a.now))
	} else {
		app.names = a.fieldNames(p)
	}
	if p.decode.clocked {
		app.readLater = p.decode.reader(secrets, app.later)
	}
	app.store, err = host.Foreign(a.Redis, app.pattern.Prefix())
	return app, err
}

// secrets are those of the config, with their placeholders replaced.
func (a *Authenticator) secrets() ([]string, error) {
	secrets := make([]string, len(a.Secrets))
	for i, text := range a.Secrets {
		secret, err := caddy.NewReplacer().ReplaceOrErr(text, true, true)
		if err != nil {
			return nil, fmt.Errorf("session %s: secret: %w", a.Preset, err)
		}
		secrets[i] = secret
	}
	if a.Preset == "laravel" || a.Signature == "laravel" {
		keys, err := seal.LaravelKeys(secrets)
		if err != nil {
			return nil, fmt.Errorf("session %s: %w", a.Preset, err)
		}
		return keys, nil
	}
	return secrets, nil
}

// fieldNames are the fields of a hash that the paths begin with, and those of its
// clock.
func (a *Authenticator) fieldNames(p preset) []string {
	names := make(map[string]bool)
	for _, name := range springClock {
		names[name] = true
	}
	paths := slices.Clone(p.users)
	for _, claim := range a.Claims {
		paths = append(paths, claim.Path)
	}
	for _, text := range paths {
		if path, err := identity.ParsePath(text); err == nil {
			names[path[0]] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// later tells the time of a while from now.
func (a *application) later() time.Time { return a.now().Add(ahead) }

// basisOf is a number for what sessions are opened with.
func basisOf(secrets []string) uint64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", secrets))
	return binary.LittleEndian.Uint64(sum[:])
}

// find returns what a cookie says: its value, and behind sealedFrom that of the one
// with its signature.
func (a *application) find(r *http.Request, value authenticators.Secret) (authenticators.Secret, error) {
	switch {
	case strings.Contains(value.Reveal(), sealedFrom), len(value) > maxCookie:
		return "", authenticators.ErrNoCredential
	case a.open == nil || a.sealed.beside == "":
		return value, nil
	}
	beside, err := authenticators.FromCookie(r, a.cookie+a.sealed.beside)
	if len(beside) > maxCookie {
		err = authenticators.ErrNoCredential
	}
	return value + sealedFrom + beside, err
}

// maxCookie is the longest cookie that is looked at, in bytes: twice what browsers keep.
const maxCookie = 8 << 10

// sealedFrom stands in no header that a server takes.
const sealedFrom = "\x00"

// idOf returns what stands in the key for the id, of what find has returned.
func (a *application) idOf(ctx context.Context, said authenticators.Secret) (string, bool) {
	value, beside, _ := strings.Cut(said.Reveal(), sealedFrom)
	id, ok := a.value.read(value)
	if !ok {
		return "", false
	}
	if a.open != nil {
		opened, err := a.open(a.cookie, id, beside)
		if err != nil {
			return "", false
		}
		if a.openLater != nil {
			end := a.now()
			if _, err := a.openLater(a.cookie, id, beside); err == nil {
				end = end.Add(ahead)
			}
			store.ReadUntil(ctx, end)
		}
		id = opened
	}
	if a.wholeKey {
		if id, ok = a.pattern.Credential(id); !ok {
			return "", false
		}
	}
	return a.id.key(id)
}

// read undoes what the framework undoes in a cookie's value.
func (c cookieValue) read(value string) (string, bool) {
	if c.quoted {
		if inner, ok := strings.CutPrefix(value, `"`); ok && strings.HasSuffix(inner, `"`) {
			value = strings.TrimSuffix(inner, `"`)
		}
	}
	if !c.escaped {
		return value, true
	}
	plain, err := url.PathUnescape(value)
	return plain, err == nil
}

// verify looks a session up.
func (a *application) verify(ctx context.Context, said authenticators.Secret) (*identity.Identity, error) {
	text, ok := a.idOf(ctx, said)
	if !ok {
		return nil, authenticators.ErrNoCredential
	}
	id := authenticators.Secret(text)
	key := a.pattern.Key(text)
	now := a.now()
	session, ttl, err := a.load(ctx, key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, authenticators.ErrNoCredential
	case errors.Is(err, errUndecodable), errors.Is(err, store.ErrTooLarge), errors.Is(err, store.ErrWrongType):
		a.tell(id, err)
		return nil, undecodable(err)
	case err != nil:
		return nil, fmt.Errorf("looking session up: %w", err)
	}
	if a.reach != nil {
		if a.reach(session, now.Add(ahead)) == nil {
			store.ReadUntil(ctx, now)
		}
		session = a.reach(session, now)
		store.ReadUntil(ctx, now.Add(ahead))
	}
	who := a.identify(session)
	if who == nil {
		return nil, authenticators.ErrNoCredential // an anonymous visitor's session
	}
	who.Basis = a.basis
	if ttl > 0 {
		who.Expires = a.now().Add(ttl)
		a.extend(ctx, key, id, ttl)
	}
	return who, nil
}

// ahead is for how long it is known of a session with a clock of its own that it
// won't end.
const ahead = 30 * time.Second

// errUndecodable says that a session is of a format that is not known here.
var errUndecodable = errors.New("undecodable")

// load reads a session, and how long it has still to live.
func (a *application) load(ctx context.Context, key string) (map[string]any, time.Duration, error) {
	if a.fields != nil {
		return a.loadFields(ctx, key)
	}
	record, err := a.store.Get(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	session, err := a.reader(record.Value)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errUndecodable, err)
	}
	if a.readLater != nil {
		end := a.now().Add(ahead)
		if later, err := a.readLater(record.Value); err != nil || len(later) == 0 {
			end = a.now()
		}
		store.ReadUntil(ctx, end)
	}
	return session, record.TTL, nil
}

func (a *application) loadFields(ctx context.Context, key string) (map[string]any, time.Duration, error) {
	fields, ttl, err := a.store.Fields(ctx, key, a.names...)
	if err != nil {
		return nil, 0, err
	}
	session := make(map[string]any, len(fields))
	for name, text := range fields {
		value, err := a.fields(text)
		if err != nil {
			return nil, 0, fmt.Errorf("%w: a field: %w", errUndecodable, err)
		}
		session[name] = value["value"]
	}
	return session, ttl, nil
}

// identify returns whose session it is; nil for nobody's.
func (a *application) identify(session map[string]any) *identity.Identity {
	for _, mapping := range a.mappings {
		if who, err := mapping.Identify(session); err == nil {
			who.Method = "session"
			return who
		}
	}
	return nil
}

// extend lets the record live on for the idle time. If it can't, the request goes
// on all the same: the session has been read, and is good.
func (a *application) extend(ctx context.Context, key string, id authenticators.Secret, ttl time.Duration) {
	if a.touch == 0 {
		return
	}
	store.ReadUntil(ctx, a.now().Add(touchEvery)) // then it may be due again
	if ttl > a.touch-touchEvery {
		return
	}
	if err := a.store.Extend(ctx, key, a.touch); err != nil {
		a.logger.Debug("session not touched", zap.String("session", id.Digest()), zap.Error(err))
	}
}

// tellEvery is how often it is logged that sessions can't be read: a setting that
// is wrong would fill the log.
const tellEvery = time.Minute

func (a *application) tell(id authenticators.Secret, cause error) {
	now, last := a.now().UnixNano(), a.told.Load()
	if now-last < int64(tellEvery) && last != 0 || !a.told.CompareAndSwap(last, now) {
		return
	}
	a.logger.Warn("a session can't be read; is it of another format? (told once a minute at most)",
		zap.String("cookie", a.cookie), zap.String("session", id.Digest()), zap.Error(cause))
}
