package edgeauth

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOnlyWhatAPolicyWouldTakeIsRevoked(t *testing.T) {
	t.Parallel()
	encode := base64.RawURLEncoding.EncodeToString
	now := time.Unix(1_800_000_000, 0)
	token := encode([]byte(`{"alg":"HS256"}`)) + "." + encode([]byte(`{"sub":"a","exp":1900000000}`)) + ".AAAA"
	names, left, err := namesOfJWT(token, []string{"jti"}, now)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, left, 100_000_000*time.Second, "as long as it lives")
	for _, text := range []string{" " + token, token + "\n"} {
		again, _, err := namesOfJWT(text, []string{"jti"}, now)
		require.NoError(t, err)
		assert.Equal(t, names, again)
	}
	for _, text := range []string{"Bearer " + token, "x" + token, "=" + token, token[1:], "e30." + token, "." + token[21:], token[:30], ""} {
		_, _, err := namesOfJWT(text, []string{"jti"}, now)
		require.Error(t, err, text)
	}
}
