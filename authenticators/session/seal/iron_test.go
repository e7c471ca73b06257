package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ironSealed seals text as @hapi/iron does; expires in milliseconds, or empty.
func ironSealed(t *testing.T, password, text, expires string) string {
	t.Helper()
	key, err := ironKey(password, "salt")
	require.NoError(t, err)
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	pad := aes.BlockSize - len(text)%aes.BlockSize
	data := []byte(text + strings.Repeat(string(rune(pad)), pad))
	iv := make([]byte, aes.BlockSize)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(data, data)
	signed := strings.Join([]string{
		"Fe26.2", "", "salt", base64.RawURLEncoding.EncodeToString(iv), base64.RawURLEncoding.EncodeToString(data), expires,
	}, "*")
	signingKey, err := ironKey(password, "other salt")
	require.NoError(t, err)
	return signed + "*other salt*" + base64.RawURLEncoding.EncodeToString(mac(sha256.New, signingKey, signed))
}

func TestIronEndsWhenItSays(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_800_000_000_000)
	open := func(expires string, after time.Duration) (string, error) {
		value := ironSealed(t, "a password of the application", `{"id":"abc"}`, expires)
		return Iron([]string{"a password of the application"}, func() time.Time { return now.Add(after) })("session", value, "")
	}
	for _, expires := range []string{"", strconv.FormatInt(now.UnixMilli()+1000, 10)} {
		id, err := open(expires, 0)
		require.NoError(t, err)
		assert.Equal(t, "abc", id)
	}
	_, err := open(strconv.FormatInt(now.UnixMilli()+1000, 10), time.Second)
	require.ErrorIs(t, err, ErrForged)
	_, err = open("soon", 0)
	require.ErrorIs(t, err, ErrForged)
}
