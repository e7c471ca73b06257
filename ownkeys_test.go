package edgeauth

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestSigningKeyIsInNoErrorAndNoLog(t *testing.T) {
	const secret = "U1VQRVJTRUNSRVRVUEVSU0VDUkVUVVBFUlNFQ1JFVFVQRVJTRUNSRVQ"
	t.Setenv("TEST_RAW", secret)
	t.Setenv("TEST_JWK", `{"kty":"oct","k":"`+secret[:20]+`"}`)
	t.Setenv("TEST_PEM", "-----BEGIN PRIVATE KEY-----\n"+secret+"\n-----END PRIVATE KEY-----")
	open := filepath.Join(t.TempDir(), "open.jwk")
	good := `{"kty":"oct","k":"` + secret + `"}`
	require.NoError(t, os.WriteFile(open, []byte(good), 0o600))
	require.NoError(t, os.Chmod(open, 0o644))
	t.Setenv("TEST_FILE", open)
	for text, want := range map[string]string{
		"{env.TEST_RAW}":                         "neither a key in PEM, nor a JWK, nor a file",
		"{env.TEST_JWK}":                         "at least 32 are needed",
		"{env.TEST_PEM}":                         "neither a key in PEM nor a JWK",
		"{env.TEST_NONE}":                        "TEST_NONE",
		`{"kty":"oct","k":"` + secret[:8] + `"}`: "at least 32 are needed",
		good:                                     "",
		"{env.TEST_FILE}":                        "",
		"/none.pem":                              "no such file",
	} {
		core, logs := observer.New(zapcore.DebugLevel)
		a := &App{SigningKeyFiles: []string{text}, logger: zap.New(core)}
		err := a.provisionKeys()
		if want == "" {
			require.NoError(t, err)
			assert.Equal(t, 1, logs.FilterMessageSnippet("signing_key is a secret").Len())
		} else {
			require.ErrorContains(t, err, want)
			assert.NotContains(t, err.Error(), secret[:8])
		}
		for _, entry := range logs.All() {
			assert.NotContains(t, fmt.Sprint(entry), secret[:8])
		}
		assert.Equal(t, text == "{env.TEST_FILE}", logs.FilterMessageSnippet("can be read by everybody").Len() == 1, text)
	}
}
