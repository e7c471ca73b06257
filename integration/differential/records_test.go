package differential

import (
	"bytes"
	"compress/zlib"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what old Djangos sign with
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"hash"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators/session"
	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
)

// recordCase is a session as Redis may hold it.
type recordCase struct {
	record string
	signed bool
	form   string // json or pickle; of what is signed, json
}

func TestTheUserOfASessionIsTheOneThatDjangoReads(t *testing.T) {
	t.Parallel()
	host := guesttest.NewHost()
	plain, signed := new(session.Authenticator), new(session.Authenticator)
	require.NoError(t, guesttest.Load(t, host, plain, "session django"))
	require.NoError(t, guesttest.Load(t, host, signed, "session django-signed {\n secret "+secret+"\n key signed:{id}\n}"))
	id := strings.Repeat("a", 32)
	trial[recordCase]{
		name:   "sessions and Django",
		cases:  share(t, 10),
		make:   makeRecord,
		theirs: startPython(t, "records", map[string]any{"secret": secret}),
		ask: func(c recordCase) any {
			return map[string]any{"record": latin1(c.record), "signed": c.signed, "form": c.form}
		},
		ours: func(c recordCase) answer {
			key, a := ":1:django.contrib.sessions.cache", plain
			if c.signed {
				key, a = "signed:", signed
			}
			require.NoError(t, host.Others.Put(t.Context(), key+id, []byte(c.record), 0))
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header["Cookie"] = []string{"sessionid=" + id}
			return authenticate(t, a, r)
		},
		reasons: []reason[recordCase]{
			{"base64 that is not canonical, or signed by SHA-1", func(c recordCase) bool {
				parts := strings.Split(c.record, ":")
				body := strings.TrimPrefix(parts[0], ".")
				return c.signed && (len(parts) != 3 || b64(loosely(body)) != body || len(parts[len(parts)-1]) != 43)
			}},
			{"not JSON (RFC 8259), or a member that stands twice", func(c recordCase) bool {
				text := textOf(c)
				return c.form == "json" && (!json.Valid(text) || !utf8.Valid(text) || hasTwice(text))
			}},
			{"nested deeper than 64", func(c recordCase) bool { return c.form == "json" && depthOf(textOf(c)) > 64 }},
			{"a user id that no header can carry unchanged", func(c recordCase) bool {
				user := userOf(textOf(c))
				return c.form == "json" && (user == "" || strings.TrimSpace(user) != user || len(user) > 255 ||
					strings.ContainsFunc(user, func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }))
			}},
			{"no login: empty, or no texts", func(c recordCase) bool {
				members := objectOf(textOf(c))
				return c.form == "json" && slices.ContainsFunc(loginNames, func(name string) bool { text, _ := members[name].(string); return text == "" })
			}},
			{"a pickle with what is no data, or damaged behind the user", func(c recordCase) bool { return c.form == "pickle" && !slices.Contains(pristine(), c.record) }},
		},
	}.run(t)
}

var loginNames = []string{"_auth_user_id", "_auth_user_backend", "_auth_user_hash"}

// textOf is the JSON of a record.
func textOf(c recordCase) []byte {
	if !c.signed {
		return []byte(c.record)
	}
	body, _, _ := strings.Cut(c.record, ":")
	inner, compressed := strings.CutPrefix(body, ".")
	data := loosely(inner)
	if !compressed {
		return data
	}
	r, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil
	}
	var text bytes.Buffer
	_, _ = text.ReadFrom(r)
	return text.Bytes()
}

func userOf(text []byte) string {
	user, _ := objectOf(text)["_auth_user_id"].(string)
	return user
}

// djangoSign is django.core.signing.dumps.
func djangoSign(of func() hash.Hash, key, salt, body string) string {
	derived := of()
	derived.Write([]byte(salt + "signer" + key))
	mac := hmac.New(of, derived.Sum(nil))
	mac.Write([]byte(body))
	return body + ":" + b64(mac.Sum(nil))
}

func makeRecord(random *rand.Rand) recordCase {
	if random.IntN(3) == 0 {
		return makePickle(random)
	}
	o := object{`"_auth_user_id":` + of(random, `"1"`, `"1"`, `"2"`, `"alice"`, `"Zo\u00eb"`), `"_auth_user_backend":"django.contrib.auth.backends.ModelBackend"`, `"_auth_user_hash":"0123abcd"`, `"cart":[1,2.5,null]`}
	if random.IntN(2) == 0 {
		switch random.IntN(6) {
		case 0:
			o = o.with("_auth_user_id", of(random, "1", "-1", "1.0", "true", "null", `""`, `" 1"`, `"1\n"`, `["1"]`, `"\ud800"`, `"a\u0000"`, "1e3", `"`+strings.Repeat("9", 300)+`"`))
		case 1:
			o = o.without(of(random, loginNames...))
		case 2:
			o = append(o, of(random, `"_auth_user_id":"2"`, `"\u005fauth_user_id":"2"`, `"x":{"_auth_user_id":"2"}`, `"_AUTH_USER_ID":"2"`, `"cart":1`))
		case 3:
			o = o.with(of(random, loginNames[1:]...), of(random, `""`, "null", "1", `"y"`))
		default:
			o = spoilJSON(random, o)
		}
	}
	text := o.String()
	if random.IntN(2) == 0 {
		if random.IntN(3) == 0 {
			text = spoil(random, text)
		}
		return recordCase{text, false, "json"}
	}
	body := b64([]byte(text))
	if random.IntN(3) == 0 {
		var b bytes.Buffer
		w := zlib.NewWriter(&b)
		must(w.Write([]byte(text)))
		must(0, w.Close())
		body = "." + b64(b.Bytes())
	}
	if random.IntN(10) == 0 {
		body = of(random, body+"=", "."+body, base64.StdEncoding.EncodeToString([]byte(text)), body+":x")
	}
	key, salt, by := secret, "django.contrib.sessions.SessionStore", sha256.New
	switch random.IntN(20) {
	case 0:
		key += "x"
	case 1:
		salt = of(random, "django.contrib.sessions.backends.signed_cookies", "django.core.signing", "")
	case 2:
		by = sha1.New
	}
	record := djangoSign(by, key, salt, body+":"+of(random, "1xVTsi", "1abcde", "0"))
	if random.IntN(3) == 0 {
		if random.IntN(2) == 0 {
			record = spoil(random, record)
		} else {
			other := djangoSign(sha256.New, secret, salt, b64([]byte(`{"_auth_user_id":"2","_auth_user_backend":"x","_auth_user_hash":"x"}`))+":1xVTsi")
			record = splice(random, record, other)
		}
	}
	return recordCase{record, true, "json"}
}

// pickled is a dictionary of texts as Python's protocol 4 has it.
func pickled(members ...string) string {
	var b bytes.Buffer
	b.WriteString("}(")
	for _, text := range members {
		b.WriteByte(0x8c) // SHORT_BINUNICODE
		b.WriteByte(byte(len(text)))
		b.WriteString(text)
		b.WriteByte(0x94) // MEMOIZE
	}
	b.WriteString("u.")
	frame := binary.LittleEndian.AppendUint64([]byte{0x80, 4, 0x95}, uint64(b.Len()))
	return string(frame) + b.String()
}

func pickledUser(user string) string {
	return pickled("_auth_user_id", user, "_auth_user_backend", "django.contrib.auth.backends.ModelBackend", "_auth_user_hash", "0123abcd")
}

func pristine() []string {
	return []string{pickledUser("1"), pickledUser("2"), pickledUser("Zoë")}
}

func makePickle(random *rand.Rand) recordCase {
	record := of(random, pristine()...)
	switch random.IntN(4) {
	case 0:
		record = splice(random, record, of(random, pristine()...))
	case 1, 2:
		for range 1 + random.IntN(2) {
			record = spoil(random, record)
		}
	}
	return recordCase{record: record, form: "pickle"}
}
