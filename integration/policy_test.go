package integration

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/integration/harness"
)

// placements are the ways to put a policy on a site.
var placements = map[string]string{
	"site": `http://127.0.0.1:$PORT {
	edge_auth {
		BASIC
	}
	reverse_proxy UPSTREAM
}`,
	"snippet": `(guard) {
	edge_auth {
		BASIC
	}
}
http://127.0.0.1:$PORT {
	import guard
	reverse_proxy UPSTREAM
}`,
	"handle": `http://127.0.0.1:$PORT {
	handle {
		edge_auth {
			BASIC
		}
		reverse_proxy UPSTREAM
	}
}`,
	"handle_path": `http://127.0.0.1:$PORT {
	handle_path /* {
		edge_auth {
			BASIC
		}
		reverse_proxy UPSTREAM
	}
}`,
	"route": `http://127.0.0.1:$PORT {
	route {
		edge_auth {
			BASIC
		}
		reverse_proxy UPSTREAM
	}
}`,
	"named route": `&(guard) {
	edge_auth {
		BASIC
	}
}
http://127.0.0.1:$PORT {
	invoke guard
	reverse_proxy UPSTREAM
}`,
	"named route with a header before it": `&(guard) {
	header X-Frame-Options DENY
	edge_auth {
		BASIC
	}
	reverse_proxy UPSTREAM
}
http://127.0.0.1:$PORT {
	invoke guard
}`,
	"named route with two policies": `&(guard) {
	edge_auth {
		BASIC
	}
	edge_auth {
		BASIC
		require user alice
	}
	reverse_proxy UPSTREAM
}
http://127.0.0.1:$PORT {
	invoke guard
}`,
	"on the site and in a handle": `http://127.0.0.1:$PORT {
	edge_auth {
		BASIC
	}
	handle /page {
		edge_auth {
			BASIC
			require user alice
		}
		reverse_proxy UPSTREAM
	}
}`,
}

func TestPolicyHoldsWhereverItStands(t *testing.T) {
	t.Parallel()
	for name, config := range placements {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := harness.StartUpstream(t)
			g := harness.Start(t, "", config, "UPSTREAM", up.Addr, "BASIC", harness.BasicAlice(t))

			refused := g.Get("/page")
			assert.Equal(t, http.StatusUnauthorized, refused.Status)
			assert.Equal(t, http.StatusUnauthorized, g.Get("/page", harness.BasicHeader("wrong")).Status)
			assert.Empty(t, up.Taken(), "nothing may reach the upstream")

			passed := g.Get("/page", harness.Alice)
			assert.Equal(t, http.StatusOK, passed.Status, passed.Body)
			got := up.One(t)
			assert.Equal(t, []string{"alice"}, harness.HeaderOf(got, "Remote-User"))
			assert.Empty(t, harness.HeaderOf(got, "Authorization"), "the credential does not travel")
		})
	}
}

func TestStricterPolicyInAHandleAddsToThatOfTheSite(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		BASIC
	}
	handle /admin/* {
		edge_auth {
			BASIC
			require user root
		}
		reverse_proxy UPSTREAM
	}
	handle {
		reverse_proxy UPSTREAM
	}
}`, "UPSTREAM", up.Addr, "BASIC", harness.BasicAlice(t))
	assert.Equal(t, http.StatusOK, g.Get("/", harness.Alice).Status)
	up.One(t)
	refused := g.Get("/admin/x", harness.Alice)
	assert.Equal(t, http.StatusForbidden, refused.Status)
	assert.JSONEq(t, `{"detail":"You do not have permission to perform this action.","code":"permission_denied"}`, refused.Body)
	assert.Equal(t, http.StatusUnauthorized, g.Get("/admin/x").Status)
	assert.Empty(t, up.Taken())
}

func TestLaterPolicyEstablishesItsOwnIdentity(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		BASIC
		identity_header X-First {http.auth.user.id}
	}
	edge_auth {
		token {
			header X-Api-Key
		}
		optional
		identity_header X-Second {http.auth.user.method}
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr, "BASIC", harness.BasicAlice(t))
	g.EdgeAuth("correct horse\n", "user", "add", "bob")
	token := g.EdgeAuth("", "token", "create", "bob")

	require.Equal(t, http.StatusOK, g.Get("/", harness.Alice).Status)
	got := up.One(t)
	assert.Equal(t, []string{"alice"}, harness.HeaderOf(got, "Remote-User"), "the identity of the first stays")
	assert.Equal(t, []string{"alice"}, harness.HeaderOf(got, "X-First"))
	assert.Empty(t, harness.HeaderOf(got, "X-Second"))

	require.Equal(t, http.StatusOK, g.Get("/", harness.Alice, "X-Api-Key: "+token).Status)
	got = up.One(t)
	assert.Equal(t, []string{"bob"}, harness.HeaderOf(got, "Remote-User"))
	assert.Empty(t, harness.HeaderOf(got, "X-First"), "what the first told is no longer true")
	assert.Equal(t, []string{"token"}, harness.HeaderOf(got, "X-Second"))
	assert.NotContains(t, got, token)
}

func TestLaterPolicySeesTheCredentialAnEarlierOneRemoved(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	// The second policy asks the same header, in an authenticator of its own.
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		BASIC
	}
	edge_auth {
		basic {
			realm other
			HASHLINE
		}
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr, "BASIC", harness.BasicAlice(t), "HASHLINE", strings.Split(harness.BasicAlice(t), "\n")[1])
	assert.Equal(t, http.StatusOK, g.Get("/", harness.Alice).Status)
	assert.Empty(t, harness.HeaderOf(up.One(t), "Authorization"))
}

func TestErrorRoutesOfOneSiteLeaveTheAnswersOfAnotherAlone(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		BASIC
	}
	reverse_proxy UPSTREAM
}
http://localhost:$PORT {
	edge_auth {
		BASIC
	}
	reverse_proxy UPSTREAM
	handle_errors 401 {
		respond "own page: {err.message}" 401
	}
}`, "UPSTREAM", up.Addr, "BASIC", harness.BasicAlice(t))
	plain := g.Get("/")
	assert.Equal(t, http.StatusUnauthorized, plain.Status)
	assert.JSONEq(t, `{"detail":"Authentication credentials were not provided.","code":"not_authenticated"}`, plain.Body)
	assert.Equal(t, []string{`Basic realm="api"`}, plain.Header["Www-Authenticate"])

	g.URL = strings.Replace(g.URL, "127.0.0.1", "localhost", 1)
	own := g.Get("/")
	assert.Equal(t, http.StatusUnauthorized, own.Status)
	assert.Equal(t, "own page: Authentication credentials were not provided.", own.Body)
	assert.Equal(t, []string{`Basic realm="api"`}, own.Header["Www-Authenticate"])
}

func TestL40LoginRedirectIsForNavigationsOnly(t *testing.T) {
	t.Parallel()
	up := harness.StartUpstream(t)
	g := harness.Start(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		BASIC
		login_url /login/
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.Addr, "BASIC", harness.BasicAlice(t))
	t.Cleanup(func() { assert.Empty(t, up.Taken()) })
	for name, c := range map[string]struct {
		method  string
		headers []string
		status  int
	}{
		"navigation":           {http.MethodGet, []string{"Sec-Fetch-Mode: navigate"}, 302},
		"old browser":          {http.MethodGet, []string{"Accept: text/html,application/xhtml+xml,*/*;q=0.8"}, 302},
		"head":                 {http.MethodHead, []string{"Sec-Fetch-Mode: navigate"}, 302},
		"script":               {http.MethodGet, []string{"Sec-Fetch-Mode: cors", "Accept: text/html"}, 401},
		"curl":                 {http.MethodGet, []string{"Accept: */*"}, 401},
		"html is second best":  {http.MethodGet, []string{"Accept: application/json, text/html"}, 401},
		"form":                 {http.MethodPost, []string{"Sec-Fetch-Mode: navigate"}, 401},
		"wrong credential too": {http.MethodGet, []string{"Sec-Fetch-Mode: navigate", harness.BasicHeader("wrong")}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := g.Do(c.method, "/a/b?x=1&y=//evil", "", c.headers...)
			assert.Equal(t, c.status, a.Status)
			if c.status == 302 {
				assert.Equal(t, "/login/?next=%2Fa%2Fb%3Fx%3D1%26y%3D%2F%2Fevil", a.Header.Get("Location"))
			}
			assert.Equal(t, "no-store", a.Header.Get("Cache-Control"))
		})
	}
}
