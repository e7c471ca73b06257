package integration

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/edgeauth/caddy-edgeauth"
)

// TestE42CaddyfileAdaptsToJSONOrSaysWhatIsWrong holds each golden file: a Caddyfile, a line of
// dashes, and the JSON or the error it gives. UPDATE_GOLDEN=1 writes them anew.
func TestE42CaddyfileAdaptsToJSONOrSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("caddyfile_adapt/*.caddyfiletest")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			config, want, _ := strings.Cut(string(data), "----------\n")
			got := adapt(t, config)
			if os.Getenv("UPDATE_GOLDEN") != "" {
				require.NoError(t, os.WriteFile(file, []byte(config+"----------\n"+got+"\n"), 0o600))
				return
			}
			assert.Equal(t, strings.TrimSpace(want), got)
		})
	}
}

// adapt gives the JSON of a Caddyfile, or the error. A warning is an error too.
func adapt(t testing.TB, config string) string {
	t.Helper()
	adapter := caddyconfig.GetAdapter("caddyfile")
	result, warnings, err := adapter.Adapt([]byte(config), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err.Error()
	}
	assert.Empty(t, warnings)
	var indented bytes.Buffer
	require.NoError(t, json.Indent(&indented, result, "", "\t"))
	return indented.String()
}
