package edgeauth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgeauth/caddy-edgeauth/issuer"
)

// fuzzed are what a Caddyfile can say of ours: what reads a block, and gives
// something that has a JSON form.
var fuzzed = map[string]func(d *caddyfile.Dispenser) (config, again any, err error){
	"edge_auth": func(d *caddyfile.Dispenser) (any, any, error) {
		p := new(Policy)
		d.Next()
		return p, new(Policy), p.unmarshalBody(d, nobodyKnown{})
	},
	"edge_auth_issuer": func(d *caddyfile.Dispenser) (any, any, error) {
		i := new(issuer.Issuer)
		return i, new(issuer.Issuer), i.UnmarshalCaddyfile(d)
	},
	"edge_auth_whoami": func(d *caddyfile.Dispenser) (any, any, error) {
		w := new(Whoami)
		return w, new(Whoami), w.UnmarshalCaddyfile(d)
	},
}

// FuzzCaddyfile reads any block at all: one that is wrong is told with its place,
// and what one says is the same after it has been JSON.
func FuzzCaddyfile(f *testing.F) {
	files, err := filepath.Glob("integration/caddyfile_adapt/*.caddyfiletest")
	require.NoError(f, err)
	require.NotEmpty(f, files)
	block := regexp.MustCompile(`(?ms)^\t(edge_auth(?:_issuer|_whoami)?)[^\n]*\{\n(.*?)^\t\}`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(f, err)
		for _, found := range block.FindAllSubmatch(text, -1) {
			f.Add(string(found[1]), string(found[2]))
		}
	}
	f.Fuzz(func(t *testing.T, directive, body string) {
		read, ok := fuzzed[directive]
		if !ok || strings.Contains(body, "import") { // which reads files
			return
		}
		d := caddyfile.NewTestDispenser(directive + " {\n" + body + "\n}")
		config, again, err := read(d)
		if err != nil {
			if !placeNamed.MatchString(err.Error()) {
				t.Fatalf("no place: %v", err)
			}
			return
		}
		text, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(again); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		second, err := json.Marshal(again)
		if err != nil || !bytes.Equal(text, second) {
			t.Fatalf("%s became %s: %v", text, second, err)
		}
		// Whether it makes sense is said by an error, too.
		for _, judged := range []any{config, again} {
			if checked, ok := judged.(interface{ check() error }); ok {
				_ = fmt.Sprint(checked.check())
			}
		}
	})
}

// placeNamed is how Caddy names a place.
var placeNamed = regexp.MustCompile(`Testfile:\d+`)

// nobodyKnown knows no policy that 'use' could name.
type nobodyKnown struct{}

func (nobodyKnown) policy(name string) (*Policy, error) {
	return nil, fmt.Errorf("there is no policy '%s'", name)
}
