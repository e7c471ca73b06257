package harness

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// canaries are the secrets that a gateway was given or has issued in a test (row
// E10 of the attack catalogue). When the gateway ends, nothing that it wrote may
// hold one: no log at whatever level, no file, no metric, no answer of the admin
// API, nothing that a command printed.
type canaries struct {
	mu      sync.Mutex
	texts   []string // the secrets
	names   []string // what each is, for the test's report
	printed strings.Builder
	allowed []string // what a test knows to be told
	written []string // what the test itself wrote into files, the Caddyfile among it
	files   []string
}

// shortest is how long a secret must be to be looked for: what is shorter stands
// somewhere by chance.
const shortest = 10

// mostCanaries bounds what is looked for after a flood of credentials.
const mostCanaries = 256

// Secret tells the gateway's test of a secret that nothing may show.
func (g *Gateway) Secret(what, text string) {
	text = strings.TrimSpace(text)
	if len(text) < shortest {
		return
	}
	g.canaries.mu.Lock()
	defer g.canaries.mu.Unlock()
	if len(g.canaries.texts) < mostCanaries && !slices.Contains(g.canaries.texts, text) {
		g.canaries.texts = append(g.canaries.texts, text)
		g.canaries.names = append(g.canaries.names, what)
	}
}

// Told says that a text is no secret in this test, though it came as one.
func (g *Gateway) Told(text string) {
	g.canaries.mu.Lock()
	defer g.canaries.mu.Unlock()
	g.canaries.allowed = append(g.canaries.allowed, text)
}

// secretHeaders carry a credential whole.
var secretHeaders = []string{"x-api-key", "x-auth-token", "private-token"}

// sends notes the credentials of a request: they are returned, too.
func (g *Gateway) sends(path, body string, headers []string) []string {
	var sent []string
	note := func(what, text string) {
		g.Secret(what, text)
		sent = append(sent, text)
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		switch name = strings.ToLower(name); {
		case isCSRF(name):
			g.Told(value)
		case name == "authorization" || name == "proxy-authorization":
			scheme, credential, _ := strings.Cut(strings.TrimSpace(value), " ")
			note(name+" sent", credential)
			if decoded, err := base64.StdEncoding.DecodeString(credential); err == nil && strings.EqualFold(scheme, "Basic") {
				_, password, _ := strings.Cut(string(decoded), ":")
				note("password sent", password)
			} else if signed := strings.Split(credential, "."); len(signed) == 3 {
				note("signature sent", signed[2])
			}
		case name == "cookie":
			for pair := range strings.SplitSeq(value, ";") {
				cookie, text, _ := strings.Cut(pair, "=")
				if len(text) >= minCookie && !isCSRF(cookie) {
					note("cookie"+cookie+" sent", strings.Trim(text, `"`))
				}
			}
		case slices.Contains(secretHeaders, name):
			note(name+" sent", value)
		}
	}
	if _, query, ok := strings.Cut(path, "?"); ok {
		if values, err := url.ParseQuery(query); err == nil {
			for _, name := range []string{"token", "access_token", "jwt"} {
				if text := values.Get(name); len(text) >= minCookie {
					note(name+" sent in the address", text)
				}
			}
		}
	}
	for _, found := range inBody(body, "password", "new_password", "current_password", "token", "refresh", "access") {
		note(found.name+" sent", found.text)
	}
	return sent
}

// isCSRF reports whether a cookie or header holds a token against cross-site requests. It
// opens nothing without the cookie of a login, and pages and scripts repeat it in
// bodies and headers.
func isCSRF(cookie string) bool { return strings.Contains(strings.ToLower(cookie), "csrf") }

// minCookie keeps counters and language codes out.
const minCookie = 16

// gets notes the credentials that an answer issues, and looks for those of the
// request in an answer that refuses it.
func (g *Gateway) gets(a Answer, sent []string) {
	for _, found := range inBody(a.Body, "access", "refresh", "token", "ceremony") {
		if len(found.text) >= minCookie && a.Status < http.StatusBadRequest {
			g.Secret(found.name+" issued", found.text)
		}
	}
	for _, line := range a.Header["Set-Cookie"] {
		if cookie, err := http.ParseSetCookie(line); err == nil && cookie.HttpOnly && !isCSRF(cookie.Name) && len(cookie.Value) >= minCookie {
			g.Secret("cookie "+cookie.Name+" issued", cookie.Value)
		}
	}
	if a.Status < http.StatusBadRequest {
		return
	}
	parts := []string{a.Body}
	for name, values := range a.Header {
		if name != "Set-Cookie" {
			parts = append(parts, values...)
		}
	}
	said := strings.Join(parts, "\n")
	for _, text := range sent {
		if len(text) >= shortest && strings.Contains(said, text) {
			g.canaries.mu.Lock()
			known := slices.Contains(g.canaries.allowed, text)
			g.canaries.mu.Unlock()
			if !known {
				g.T.Errorf("E10: an answer of status %d shows a credential of its request, %q:\n%s", a.Status, text, said)
			}
		}
	}
}

type named struct{ name, text string }

var inJSON = regexp.MustCompile(`"(\w+)"\s*:\s*"((?:[^"\\]|\\.)*)"`)

// inBody finds fields of a body, in JSON or of a form.
func inBody(body string, names ...string) []named {
	if len(body) > 1<<20 {
		return nil
	}
	var found []named
	if strings.HasPrefix(strings.TrimSpace(body), "{") {
		for _, match := range inJSON.FindAllStringSubmatch(body, -1) {
			if slices.Contains(names, match[1]) {
				found = append(found, named{match[1], match[2]})
			}
		}
		return found
	}
	values, err := url.ParseQuery(body)
	if err != nil {
		return nil
	}
	for _, name := range names {
		if text := values.Get(name); text != "" {
			found = append(found, named{name, text})
		}
	}
	return found
}

// issues are the commands that show a secret, once: that is what they are for.
var issues = [][]string{{"token", "create"}, {"token", "rotate"}, {"session", "create"}, {"jwt", "create"}}

// ran notes what a command got and printed.
func (g *Gateway) ran(stdin string, args []string, out, errs string) {
	at := slices.Index(args, "edge-auth")
	if at < 0 {
		return
	}
	words := slices.DeleteFunc(slices.Clone(args[at+1:]), func(word string) bool { return strings.HasPrefix(word, "-") || word == g.Admin })
	if len(words) > 1 && words[0] == "user" && (words[1] == "add" || words[1] == "password") {
		first, _, _ := strings.Cut(stdin, "\n")
		g.Secret("password of a user", first)
	}
	if len(words) > 1 && slices.ContainsFunc(issues, func(c []string) bool { return slices.Equal(c, words[:2]) }) {
		issued := out
		if fields := inBody(out, "token", "session", "id", "access", "jwt"); slices.Contains(args, "--json") {
			issued = ""
			for _, f := range fields {
				if f.name != "id" || words[0] == "session" {
					g.Secret(strings.Join(words[:2], " "), f.text)
				}
			}
		}
		if !strings.ContainsAny(strings.TrimSpace(issued), " \n{") {
			g.Secret(strings.Join(words[:2], " "), issued)
		}
		out = ""
	}
	g.canaries.mu.Lock()
	defer g.canaries.mu.Unlock()
	command := strings.Join(words[:min(2, len(words))], " ")
	g.canaries.printed.WriteString("$ " + command + "\n" + out + errs + "\n")
}

// wrote notes a file that the test itself has written: what stands in it is not
// the gateway's doing, and a private key in it is a secret.
func (g *Gateway) wrote(path, text string) {
	if strings.Contains(text, "PRIVATE KEY-----") {
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, "-----") {
				g.Secret("private key in "+filepath.Base(path), line)
			}
		}
	}
	g.canaries.mu.Lock()
	defer g.canaries.mu.Unlock()
	g.canaries.files = append(g.canaries.files, path)
	g.canaries.written = append(g.canaries.written, text)
}

var secretVariable = regexp.MustCompile(`^\w*(SECRET|PASSWORD)\w*=`)

// asked is what the admin API says of itself; what the test wrote into its config
// may stand there.
var asked = []string{"/metrics", "/config/", "/edge_auth/health", "/edge_auth/keys", "/edge_auth/cache", "/edge_auth/users", "/edge_auth/tokens"}

// admin reads what the admin API shows, while the gateway still runs.
func (g *Gateway) admin() map[string]string {
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	said := make(map[string]string)
	for _, path := range asked {
		resp, err := client.Get("http://" + g.Admin + path)
		if err != nil {
			return said
		}
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
		resp.Body.Close()
		said["admin API "+path] = string(body)
	}
	return said
}

// search fails the test for each secret in what the gateway wrote.
func (g *Gateway) search(said map[string]string) {
	for _, variable := range g.Env[g.inherited:] {
		if secretVariable.MatchString(variable) {
			name, text, _ := strings.Cut(variable, "=")
			for line := range strings.Lines(text) {
				g.Secret("variable "+name, line)
			}
		}
	}
	g.canaries.mu.Lock()
	defer g.canaries.mu.Unlock()
	c := g.canaries
	said["log"], said["commands"] = g.Log.String(), c.printed.String()
	_ = filepath.WalkDir(g.Dir, func(path string, entry fs.DirEntry, err error) error {
		// What can't be read shows nothing.
		if err == nil && entry.Type().IsRegular() && !slices.Contains(c.files, path) {
			if info, err := entry.Info(); err == nil && info.Size() < 64<<20 {
				if data, err := os.ReadFile(path); err == nil {
					said[strings.TrimPrefix(path, g.Dir)] = string(data)
				}
			}
		}
		return nil
	})
	for i, secret := range c.texts {
		if slices.Contains(c.allowed, secret) {
			continue
		}
		configured := slices.ContainsFunc(c.written, func(text string) bool { return strings.Contains(text, secret) })
		for place, text := range said {
			// Caddy shows and keeps its config as it is.
			if configured && (strings.HasSuffix(place, "/config/") || strings.HasSuffix(place, "autosave.json")) {
				continue
			}
			for _, form := range formsOf(secret) {
				if at := strings.Index(text, form); at >= 0 {
					g.T.Errorf("E10: %s (%q) stands in %s: …%s…", c.names[i], secret, place, text[max(0, at-200):min(len(text), at+len(form)+100)])
					break
				}
			}
		}
	}
}

// formsOf is how a secret may be spelled.
func formsOf(secret string) []string {
	forms := []string{secret}
	if quoted, err := json.Marshal(secret); err == nil {
		forms = append(forms, string(quoted[1:len(quoted)-1]))
	}
	forms = append(forms, url.QueryEscape(secret), url.PathEscape(secret), fmt.Sprintf("%x", secret))
	slices.Sort(forms)
	return slices.Compact(forms)
}
