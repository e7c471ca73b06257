package session

import (
	"regexp"
	"slices"
	"time"

	"github.com/edgeauth/caddy-edgeauth/authenticators/foreign"
	"github.com/edgeauth/caddy-edgeauth/authenticators/session/seal"
	"github.com/edgeauth/caddy-edgeauth/authenticators/session/wire"
)

// preset is a framework's conventions.
type preset struct {
	cookie, key string

	// users are where the user id may stand. They exclude each other: the first
	// that leads to an id counts.
	users []string

	value  cookieValue
	id     idForm
	sealed sealing

	// bare says that a key may be nothing but the id. Only what looks like an id of
	// the framework goes into it.
	bare bool

	// wholeKey says that the cookie holds the key, and not an id alone.
	wholeKey bool

	// decode is for sessions that are one value. The secrets are for those that are
	// sealed, too.
	decode format

	// fields, where it is set, says that a session is a Redis hash: of each field.
	fields wire.Decoder

	// reach takes what the application keeps out of the session, and returns nil
	// for one that has ended or is nobody's. Default: all of it.
	reach func(session map[string]any, now time.Time) map[string]any
}

// cookieValue says how a framework reads a cookie's value.
type cookieValue struct {
	quoted  bool // a pair of quotes around it is taken off
	escaped bool // %XX is undone
}

// sealing is how a cookie carries a signature.
type sealing struct {
	open    seal.Signature
	clocked bool   // it ends by itself
	beside  string // what is added to the cookie's name for the one with the signature
	secrets demand
}

// demand says whether a preset has secrets.
type demand int

const (
	noSecrets demand = iota
	maySecrets
	mustSecrets
)

// idForm checks an id, and says how it stands in the key. Anything else in a key
// could name another application's record.
type idForm struct {
	form  *regexp.Regexp // nil: what foreign.Fit lets through
	inKey func(id string) string
}

func (f idForm) key(id string) (string, bool) {
	if f.form == nil && foreign.Fit(id) != nil || f.form != nil && !f.form.MatchString(id) {
		return "", false
	}
	if f.inKey != nil {
		id = f.inKey(id)
	}
	return id, true
}

// format says how a session is read.
type format struct {
	reader  func(secrets []string, now seal.Clock) wire.Decoder // nil: there is none
	clocked bool                                                // sessions end by their own clock
}

func plainly(decode wire.Decoder) format {
	return format{reader: func([]string, seal.Clock) wire.Decoder { return decode }}
}

func clocked(decode func(now func() time.Time) wire.Decoder) format {
	return format{reader: func(_ []string, now seal.Clock) wire.Decoder { return decode(now) }, clocked: true}
}

// secretly is a format that a secret is needed for.
func secretly(reader func(secrets []string, now seal.Clock) wire.Decoder) format {
	return format{reader: reader}
}

// The presets, by what docs/sessions.md says of each.
var presets = map[string]preset{
	"django":        django,
	"django-signed": djangoSigned,
	"express":       express,
	"koa":           koa,
	"koa-session":   koaSession,
	"fastify":       fastify,
	"hapi":          hapi,
	"php":           php,
	"symfony":       symfony,
	"laravel":       laravel,
	"rails":         rails,
	"rack":          rack,
	"sinatra":       rack,
	"flask":         flask,
	"aiohttp":       aiohttp,
	"scs":           scs,
	"gorilla":       gorilla,
	"fiber":         fiber,
	"spring":        spring,
	customPreset:    {},
}

// customPreset is described by its options alone.
const customPreset = "custom"

// presetNames lists the presets, sorted.
func presetNames() []string { return namesOf(presets) }

func namesOf[T any](m map[string]T) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// decoders by their names in the config.
var decoders = map[string]format{
	"json":          plainly(wire.JSON),
	"pickle":        plainly(wire.Pickle),
	"msgpack":       plainly(wire.Msgpack),
	"php":           plainly(wire.PHP),
	"php_text":      plainly(wire.PHPText),
	"php_binary":    plainly(wire.PHPBinary),
	"php_serialize": plainly(wire.PHPSerialize),
	"igbinary":      plainly(wire.Igbinary),
	"marshal":       plainly(wire.Marshal),
	"gob":           plainly(wire.Gob),
	"django":        plainly(wire.Python),
	"flask":         plainly(wire.Python),
	"rails":         clocked(wire.Rack),
	"symfony":       plainly(wire.Symfony),
}

// signatures are the presets whose way to sign a cookie a custom one may take.
var signatures = map[string]preset{
	"express": express, "fastify": fastify, "koa": koa, "flask": flask,
	"hapi": hapi, "laravel": laravel, "gorilla": gorilla, "rails": rails,
}
