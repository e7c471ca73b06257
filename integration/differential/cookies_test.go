package differential

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what itsdangerous uses
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/authenticators/session"
	"github.com/edgeauth/caddy-edgeauth/internal/guesttest"
)

// cookieCase is the header Cookie, as a client sends it.
type cookieCase struct{ header string }

// sessionIDs are Django's, and fit for the others too.
var sessionIDs = map[string]string{strings.Repeat("a", 32): "alice", strings.Repeat("b", 32): "bob", "abcdefghij0123456789abcdefghij01": "carol"}

// framework is one whose cookies are read as it reads them.
type framework struct {
	name, cookie string
	config       string
	seal         func(id string) string
	key, record  string // %s is the id, the user
	oracle       func(t *testing.T) *oracle
	reasons      []reason[cookieCase]
}

func TestC30TheSessionIsTheOneThatTheFrameworkPicks(t *testing.T) {
	t.Parallel()
	for _, f := range []framework{
		{
			name: "Django", cookie: "sessionid", config: "session django", seal: func(id string) string { return id },
			key: ":1:django.contrib.sessions.cache%s", record: `{"_auth_user_id":"%s","_auth_user_backend":"x","_auth_user_hash":"x"}`,
			oracle: func(t *testing.T) *oracle {
				return startPython(t, "django", map[string]any{"sessions": sessionIDs})
			},
			reasons: []reason[cookieCase]{
				{"escapes in quotes, which only Python undoes", func(c cookieCase) bool { return strings.Contains(c.header, `\`) }},
			},
		},
		{
			name: "Flask", cookie: "session", config: "session flask {\n secret " + secret + "\n}", seal: itsdangerous,
			key: "session:%s", record: `{"_user_id":"%s"}`,
			oracle: func(t *testing.T) *oracle {
				return startPython(t, "flask", map[string]any{"secret": secret, "sessions": sessionIDs})
			},
			reasons: []reason[cookieCase]{
				{"base64 that is not canonical", func(c cookieCase) bool { return spelledOtherwise(c.header, itsdangerous) }},
				{"escapes in quotes, which only Python undoes", func(c cookieCase) bool { return strings.Contains(c.header, `\`) }},
			},
		},
		{
			name: "Express", cookie: "connect.sid", config: "session express {\n secret " + secret + "\n user id\n}", seal: cookieSignature,
			key: "sess:%s", record: `{"id":"%s"}`, oracle: startNode,
		},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			host := guesttest.NewHost()
			for id, user := range sessionIDs {
				require.NoError(t, host.Others.Put(t.Context(), fmt.Sprintf(f.key, id), fmt.Appendf(nil, f.record, user), 0))
			}
			a := new(session.Authenticator)
			require.NoError(t, guesttest.Load(t, host, a, f.config))
			trial[cookieCase]{
				name:   "cookies and " + f.name,
				cases:  share(t, 10),
				make:   f.make,
				theirs: f.oracle(t),
				ask:    func(c cookieCase) any { return map[string]any{"header": latin1(c.header)} },
				ours: func(c cookieCase) answer {
					r := httptest.NewRequest(http.MethodGet, "/", nil)
					r.Header["Cookie"] = []string{c.header}
					return authenticate(t, a, r)
				},
				reasons: append(f.reasons, reason[cookieCase]{"the cookie twice, with different values", func(c cookieCase) bool { return f.values(c) > 1 }},
					reason[cookieCase]{"white space that is no blank and no tab", func(c cookieCase) bool {
						return strings.ContainsFunc(c.header, func(r rune) bool { return r != ' ' && r != '\t' && (unicode.IsSpace(r) || r < ' ') })
					}}),
			}.run(t)
		})
	}
}

// values is how many different values a header has for what somebody may take for
// the cookie.
func (f framework) values(c cookieCase) int {
	values := make(map[string]bool)
	for pair := range strings.SplitSeq(c.header, ";") {
		name, value, _ := strings.Cut(pair, "=")
		if strings.Contains(name, f.cookie) {
			values[strings.TrimSpace(value)] = true
		}
	}
	return len(values)
}

// itsdangerous is the signature of Flask-Session.
func itsdangerous(id string) string {
	key := hmac.New(sha1.New, []byte(secret))
	key.Write([]byte("flask-session"))
	mac := hmac.New(sha1.New, key.Sum(nil))
	mac.Write([]byte(id))
	return id + "." + b64(mac.Sum(nil))
}

// cookieSignature is that of Express.
func cookieSignature(id string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(id))
	return "s:" + id + "." + base64.RawStdEncoding.EncodeToString(mac.Sum(nil))
}

// spelledOtherwise reports whether a sealed id stands in a cookie, and not as it is
// sealed.
func spelledOtherwise(header string, seal func(id string) string) bool {
	for pair := range strings.SplitSeq(header, ";") {
		_, value, _ := strings.Cut(pair, "=")
		value = strings.Trim(value, " \t\"")
		for id := range sessionIDs {
			if strings.HasPrefix(value, id+".") && value != seal(id) {
				return true
			}
		}
	}
	return false
}

func (f framework) make(random *rand.Rand) cookieCase {
	pairs := make([]string, 1+random.IntN(3))
	for i := range pairs {
		pairs[i] = f.pair(random)
	}
	header := strings.Join(pairs, of(random, "; ", "; ", "; ", ";", ";;", " ; ", ";\t", ", ", ","))
	switch random.IntN(10) {
	case 0:
		header = spoil(random, header)
	case 1:
		header = of(random, "$Version=1; ", ";", " ;", "=;=", "=; ", "a", "%; ") + header + of(random, ";", "; a", "=", `; x="`, "; $Path=/")
	}
	// A server takes no others in a header.
	return cookieCase{strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, header)}
}

func (f framework) pair(random *rand.Rand) string {
	ids := []string{strings.Repeat("a", 32), strings.Repeat("b", 32), "abcdefghij0123456789abcdefghij01", strings.Repeat("c", 32)}
	value := f.seal(of(random, ids...))
	switch random.IntN(12) {
	case 0:
		value = spoil(random, value)
	case 1:
		value = splice(random, value, f.seal(of(random, ids...)))
	case 2:
		value = of(random, `"`+value+`"`, `"`+value, value+`"`, `""`+value+`""`, `"\141`+value[1:]+`"`, `"`+value+`\"`, `'`+value+`'`, `" `+value+`"`)
	case 3:
		value = of(random, url.QueryEscape(value), strings.ReplaceAll(value, "a", "%61"), strings.ReplaceAll(value, "a", "%2561"), value+"%00", value+"%", value+"%zz", value+"+", strings.ReplaceAll(url.QueryEscape(value), "%", "%25"), strings.ToLower(url.QueryEscape(value)))
	case 4:
		value = of(random, "", " "+value, value+" ", "\t"+value, value+"\t", "\u00a0"+value, value+"\u00a0", "\xa0"+value, value+"\x85", value+"\u2003", value+"=", "="+value, value+",x", "\ufeff"+value, value+".", "s:"+value, strings.TrimPrefix(value, "s:"), "j:"+value)
	}
	name := f.cookie
	switch random.IntN(10) {
	case 0:
		name = of(random, " ", "\t", "\u00a0", "\u2000", "\xa0", "\x85", "\u2028", "\u3000", "\ufeff", "\u180e") + name
	case 1:
		name += of(random, " ", "\t", "\u00a0", "\u2000", "\xa0", "\x85", "\u3000", "=", "%20", "\ufeff")
	case 2:
		name = of(random, strings.ToUpper(name), strings.ToUpper(name[:1])+name[1:], "__Host-"+name, name+"2", strings.ReplaceAll(name, "s", "%73"), `"`+name+`"`, "", "x", "__proto__", strings.ReplaceAll(name, ".", "_"), name+"[]")
	}
	if random.IntN(30) == 0 {
		return of(random, name, value, "")
	}
	return name + "=" + value
}

// startNode asks the packages that Express reads cookies with.
func startNode(t *testing.T) *oracle {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS("npm")))
	out, err := exec.Command("npm", "ci", "--no-audit", "--no-fund", "--prefix", dir).CombinedOutput()
	require.NoError(t, err, "npm, which ./test.sh installs: %s", out)
	config, err := json.Marshal(map[string]any{"secret": secret, "sessions": sessionIDs})
	require.NoError(t, err)
	return startOracle(t, "node", filepath.Join(dir, "express.js"), string(config))
}
