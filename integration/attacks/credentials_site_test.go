package attacks

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// What becomes of a credential, as a caller and the upstream see it.
const (
	isAbsent   = "absent"
	isRejected = "rejected"

	// isMalformed is refused by Go, by Caddy or by us, as each door likes.
	isMalformed = "malformed"
)

// credentialRow is what a caller sends and what is to become of it: one of the
// above, or whose identity the upstream is told.
type credentialRow struct {
	name    string
	headers []string // {name} stands for a credential of the site's
	want    string

	method, query, body string
	target              string   // in place of the path
	doors               []string // default: all
	policies            []string // default: guarded, optional and failed
	travels             bool     // the upstream gets the credential: it is none of ours
}

// credentialSite is a gateway with policies at paths of their own, whose errors are
// answered by the upstream below /failed.
type credentialSite struct {
	g     *harness.Gateway
	up    *harness.Upstream
	known map[string]string // credentials by what rows call them
}

// newCredentialSite serves a policy in three ways, and what else stands in extra.
func newCredentialSite(t *testing.T, global, policy, extra string, vars ...string) *credentialSite {
	t.Helper()
	up := harness.StartUpstream(t)
	g := harness.New(t, append([]string{"UPSTREAM", up.Addr}, vars...)...)
	g.ServeTLS(global, extra+`
	handle /guarded/* {
		edge_auth {
			`+policy+`
		}
		reverse_proxy UPSTREAM
	}
	handle /optional/* {
		edge_auth {
			`+policy+`
			optional
		}
		reverse_proxy UPSTREAM
	}
	handle /failed/* {
		edge_auth {
			`+policy+`
		}
		reverse_proxy UPSTREAM
	}
	handle_errors {
		@failed path /failed/*
		reverse_proxy @failed UPSTREAM
	}`)
	t.Cleanup(func() {
		assert.Empty(t, g.Log.Lines("panic"))
		assert.Empty(t, g.Log.Lines(`"status":500`))
	})
	return &credentialSite{g: g, up: up, known: make(map[string]string)}
}

// own gives the site own users and a credential of each kind for each of them.
func (s *credentialSite) own(users ...string) {
	for _, user := range users {
		s.admin("/users", `{"id":"`+user+`","password":"correct horse"}`)
		s.known[user+".token"] = s.admin("/tokens", `{"user":"`+user+`"}`)["token"]
		s.known[user+".jwt"] = s.admin("/jwt", `{"user":"`+user+`"}`)["jwt"]
		s.known[user+".session"] = s.admin("/sessions", `{"user":"`+user+`"}`)["session"]
	}
}

// admin makes something by the admin API, and returns what its answer says in texts.
func (s *credentialSite) admin(path, body string) map[string]string {
	return adminMakes(s.g, path, body)
}

func adminMakes(g *harness.Gateway, path, body string) map[string]string {
	g.T.Helper()
	var a harness.Answer
	harness.Eventually(g.T, 10*time.Second, func() bool {
		a = g.CallAdmin(http.MethodPost, path, body)
		return !strings.Contains(a.Body, "is still starting")
	}, "Caddy does not finish starting")
	require.Equal(g.T, http.StatusOK, a.Status, a.Body)
	var said map[string]any
	require.NoError(g.T, json.Unmarshal([]byte(a.Body), &said))
	texts := make(map[string]string)
	for name, value := range said {
		if text, ok := value.(string); ok {
			texts[name] = text
		}
	}
	return texts
}

func (s *credentialSite) fill(text string) string {
	for name, value := range s.known {
		text = strings.ReplaceAll(text, "{"+name+"}", value)
	}
	return text
}

// run sends each row by each door to each policy.
func (s *credentialSite) run(t *testing.T, rows []credentialRow) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			for _, door := range harness.Doors {
				if row.doors != nil && !strings.Contains(strings.Join(row.doors, " "), door.Name) {
					continue
				}
				policies := row.policies
				if policies == nil {
					policies = []string{"guarded", "optional", "failed"}
				}
				for _, policy := range policies {
					s.judge(t, door, policy, row)
				}
			}
		})
	}
}

func (s *credentialSite) judge(t *testing.T, door harness.Door, policy string, row credentialRow) {
	t.Helper()
	where := door.Name + " " + policy
	request := harness.Request{Method: row.method, Path: "/" + policy + "/x" + s.fill(row.query), Body: s.fill(row.body)}
	if row.target != "" {
		request.Path = s.fill(s.g.Vars.Replace(row.target)) + request.Path
	}
	for _, header := range row.headers {
		request.Headers = append(request.Headers, s.fill(header))
	}
	a, err := door.Ask(t, s.g, request)
	got := s.up.Taken()
	if row.want == isMalformed {
		assert.True(t, err != nil || a.Status == http.StatusBadRequest || a.Status == http.StatusUnauthorized || len(got) == 1 && policy == "failed", "%s: %d", where, a.Status)
		s.identifiesNobody(t, where, got)
		return
	}
	require.NoError(t, err, where)
	switch {
	case row.want != isAbsent && row.want != isRejected:
		assert.Equal(t, http.StatusOK, a.Status, where)
		require.Len(t, got, 1, where)
		assert.Equal(t, []string{row.want}, harness.HeaderOf(got[0], "Remote-User"), where)
	case policy == "optional" && row.want == isAbsent, policy == "failed":
		require.Len(t, got, 1, where)
		s.identifiesNobody(t, where, got)
	default:
		assert.Equal(t, http.StatusUnauthorized, a.Status, where)
		assert.Empty(t, got, where)
	}
	if row.travels {
		return
	}
	for _, request := range got {
		for name, secret := range s.known {
			assert.NotContains(t, request, secret, "%s: the upstream gets %s", where, name)
		}
	}
}

func (s *credentialSite) identifiesNobody(t *testing.T, where string, got []string) {
	t.Helper()
	for _, request := range got {
		for _, name := range []string{"Remote-User", "Remote-Name", "Remote-Email", "Remote-Groups"} {
			assert.Empty(t, harness.HeaderOf(request, name), where)
		}
	}
}
