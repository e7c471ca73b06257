package jwt

import (
	"math/big"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFindingLastsAsLongAsItsKey(t *testing.T) {
	t.Parallel()
	file := keyFile(t, "ES256")
	a := ready(t, "jwt {\n key ES256 "+file+"\n}")
	who, err := ask(t, a, token("ES256", nil))
	require.NoError(t, err)
	require.NotZero(t, who.Basis)
	require.True(t, a.Holds(who.Basis))
	require.NoError(t, os.WriteFile(file, publicPEM(otherKey().Public()), 0o600))
	require.Eventually(t, func() bool { return !a.Holds(who.Basis) }, 10*time.Second, 10*time.Millisecond, "the file is looked at once a second")
	_, err = ask(t, a, token("ES256", nil))
	refusal(t, err)
}

func TestFindingOfOneConfigIsNoneOfAnother(t *testing.T) {
	t.Parallel()
	a, b := withSecret(t), withSecret(t)
	who, err := ask(t, a, token("HS256", nil))
	require.NoError(t, err)
	assert.True(t, a.Holds(who.Basis))
	assert.False(t, b.Holds(who.Basis), "it may be of another secret by the same placeholder")
	assert.False(t, a.Holds(0))
	assert.False(t, a.Holds(who.Basis+1_000_000))
}

func TestBothSpellingsOfAnECDSASignatureAreTaken(t *testing.T) {
	t.Parallel()
	a := ready(t, "jwt {\n key ES256 "+keyFile(t, "ES256")+"\n}")
	good := token("ES256", nil)
	for _, token := range []string{good, otherSpelling(t, good)} {
		_, err := ask(t, a, token)
		require.NoError(t, err)
	}
}

// otherSpelling replaces s of an ES256 signature by n - s.
func otherSpelling(t *testing.T, token string) string {
	t.Helper()
	parts, err := split(token)
	require.NoError(t, err)
	s := new(big.Int).SetBytes(parts.signature[32:])
	s.Sub(p256().Params().N, s).FillBytes(parts.signature[32:])
	return string(parts.input) + "." + encode(parts.signature)
}
