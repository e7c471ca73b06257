package passwords

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Written by a real Django 5.2.
var djangoHashes = map[string]struct{ password, hash string }{
	"PBKDF2 with SHA-256": {"wonderland", "pbkdf2_sha256$1000000$OracleSalt0123456789ab$pFfCQHJ6bZflcEBY+0C9jrnjHSdkTSs1SJDaki2hWwI="},
	"PBKDF2 with SHA-1":   {"leepass", "pbkdf2_sha1$1000000$OracleSalt0123456789ab$IsXJwx3e0/1UAjxaUJ50/HOb7kg="},
	"Argon2":              {"frankpass", "argon2$argon2id$v=19$m=102400,t=2,p=8$T3JhY2xlU2FsdDAxMjM0NTY3ODlhYg$nm6xOZvH5quvviNTiuK+Ow"},
	"bcrypt with SHA-256": {"gracepass", "bcrypt_sha256$$2b$12$1ko23425lC1iTS4EDyou7OI44fmdmPla6lK1ZAwRRZnp6nY8cA396"},
	"scrypt":              {"heidipass", "scrypt$16384$OracleSalt0123456789ab$8$5$3fSRHm5rn3/+hueBlks0jbPeNZBANM2Uas/bpw3v2gWku3kQbeNAAXg+akfazCFszHhrcPN9B+DXAQp8zm9hoQ=="},
}

func TestHashesOfDjango(t *testing.T) {
	t.Parallel()
	for name, c := range djangoHashes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.NoError(t, Check(c.hash))
			assert.True(t, match(c.hash, c.password))
			for _, wrong := range []string{"", c.password + "x", c.password[1:], strings.ToUpper(c.password)} {
				assert.False(t, match(c.hash, wrong), "%q", wrong)
			}
			assert.True(t, Outdated(c.hash), "the next login hashes anew")
			dummy := Dummy(c.hash)
			require.NoError(t, Check(dummy))
			assert.NotEqual(t, c.hash, dummy)
			assert.False(t, match(dummy, c.password))
			head := strings.Split(c.hash, "$")[:2]
			assert.Equal(t, head, strings.Split(dummy, "$")[:2], "of the same kind and cost")
		})
	}
}

func TestHashesThatAreNotTakenOver(t *testing.T) {
	t.Parallel()
	for name, hash := range map[string]string{
		"unusable":              "!00Z9cnAKBUasNNeOKug0ScUg8fszkiUigCQbQtGq",
		"old unusable":          "!",
		"MD5":                   "md5$salt$5f4dcc3b5aa765d61d8327deb882cf99",
		"unsalted MD5":          "5f4dcc3b5aa765d61d8327deb882cf99",
		"SHA-1":                 "sha1$salt$5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8",
		"crypt":                 "crypt$$ab01FAX.bQRSU",
		"argon2d":               "argon2$argon2d$v=19$m=512,t=2,p=2$MTIzNDU2Nzg$MTIzNDU2NzgxMjM0NTY3OA",
		"no salt":               "pbkdf2_sha256$1000$$pFfCQHJ6bZflcEBY+0C9jrnjHSdkTSs1SJDaki2hWwI=",
		"no rounds":             "pbkdf2_sha256$0$salt$pFfCQHJ6bZflcEBY+0C9jrnjHSdkTSs1SJDaki2hWwI=",
		"too many rounds":       "pbkdf2_sha256$10000001$salt$pFfCQHJ6bZflcEBY+0C9jrnjHSdkTSs1SJDaki2hWwI=",
		"cut":                   "pbkdf2_sha256$1000$salt$pFfCQHJ6bZflcEBY",
		"empty sum":             "pbkdf2_sha256$1000$salt$",
		"scrypt, odd N":         "scrypt$16383$salt$8$5$3fSRHm5rn3/+hueBlks0jbPeNZBANM2Uas/bpw3v2gWku3kQbeNAAXg+akfazCFszHhrcPN9B+DXAQp8zm9hoQ==",
		"scrypt, much memory":   "scrypt$1048576$salt$8$1$3fSRHm5rn3/+hueBlks0jbPeNZBANM2Uas/bpw3v2gWku3kQbeNAAXg+akfazCFszHhrcPN9B+DXAQp8zm9hoQ==",
		"scrypt, short":         "scrypt$16384$salt$8$5$AAAA",
		"bcrypt, strong beyond": "bcrypt_sha256$$2b$31$1ko23425lC1iTS4EDyou7OI44fmdmPla6lK1ZAwRRZnp6nY8cA396",
		"empty":                 "",
	} {
		require.Error(t, Check(hash), name)
		assert.False(t, match(hash, "password"), name)
		assert.False(t, match(hash, ""), name)
	}
}
