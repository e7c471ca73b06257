package integration

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
			up := startUpstream(t)
			g := startGateway(t, "", config, "UPSTREAM", up.addr, "BASIC", basicAlice(t))

			refused := g.get("/page")
			assert.Equal(t, http.StatusUnauthorized, refused.status)
			assert.Equal(t, http.StatusUnauthorized, g.get("/page", basicHeader("wrong")).status)
			assert.Empty(t, up.taken(), "nothing may reach the upstream")

			passed := g.get("/page", alice)
			assert.Equal(t, http.StatusOK, passed.status, passed.body)
			got := up.one(t)
			assert.Equal(t, []string{"alice"}, header(got, "Remote-User"))
			assert.Empty(t, header(got, "Authorization"), "the credential does not travel")
		})
	}
}

func TestStricterPolicyInAHandleAddsToThatOfTheSite(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, "", `http://127.0.0.1:$PORT {
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
}`, "UPSTREAM", up.addr, "BASIC", basicAlice(t))
	assert.Equal(t, http.StatusOK, g.get("/", alice).status)
	up.one(t)
	refused := g.get("/admin/x", alice)
	assert.Equal(t, http.StatusForbidden, refused.status)
	assert.JSONEq(t, `{"detail":"You do not have permission to perform this action.","code":"permission_denied"}`, refused.body)
	assert.Equal(t, http.StatusUnauthorized, g.get("/admin/x").status)
	assert.Empty(t, up.taken())
}

func TestLaterPolicyEstablishesItsOwnIdentity(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, "", `http://127.0.0.1:$PORT {
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
}`, "UPSTREAM", up.addr, "BASIC", basicAlice(t))
	g.edgeAuth("correct horse\n", "user", "add", "bob")
	token := g.edgeAuth("", "token", "create", "bob")

	require.Equal(t, http.StatusOK, g.get("/", alice).status)
	got := up.one(t)
	assert.Equal(t, []string{"alice"}, header(got, "Remote-User"), "the identity of the first stays")
	assert.Equal(t, []string{"alice"}, header(got, "X-First"))
	assert.Empty(t, header(got, "X-Second"))

	require.Equal(t, http.StatusOK, g.get("/", alice, "X-Api-Key: "+token).status)
	got = up.one(t)
	assert.Equal(t, []string{"bob"}, header(got, "Remote-User"))
	assert.Empty(t, header(got, "X-First"), "what the first told is no longer true")
	assert.Equal(t, []string{"token"}, header(got, "X-Second"))
	assert.NotContains(t, got, token)
}

func TestLaterPolicySeesTheCredentialAnEarlierOneRemoved(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	// The second policy asks the same header, in an authenticator of its own.
	g := startGateway(t, "", `http://127.0.0.1:$PORT {
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
}`, "UPSTREAM", up.addr, "BASIC", basicAlice(t), "HASHLINE", strings.Split(basicAlice(t), "\n")[1])
	assert.Equal(t, http.StatusOK, g.get("/", alice).status)
	assert.Empty(t, header(up.one(t), "Authorization"))
}

func TestErrorRoutesOfOneSiteLeaveTheAnswersOfAnotherAlone(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, "", `http://127.0.0.1:$PORT {
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
}`, "UPSTREAM", up.addr, "BASIC", basicAlice(t))
	plain := g.get("/")
	assert.Equal(t, http.StatusUnauthorized, plain.status)
	assert.JSONEq(t, `{"detail":"Authentication credentials were not provided.","code":"not_authenticated"}`, plain.body)
	assert.Equal(t, []string{`Basic realm="api"`}, plain.header["Www-Authenticate"])

	g.url = strings.Replace(g.url, "127.0.0.1", "localhost", 1)
	own := g.get("/")
	assert.Equal(t, http.StatusUnauthorized, own.status)
	assert.Equal(t, "own page: Authentication credentials were not provided.", own.body)
	assert.Equal(t, []string{`Basic realm="api"`}, own.header["Www-Authenticate"])
}

func TestLoginRedirectIsForNavigationsOnly(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, "", `http://127.0.0.1:$PORT {
	edge_auth {
		BASIC
		login_url /login/
	}
	reverse_proxy UPSTREAM
}`, "UPSTREAM", up.addr, "BASIC", basicAlice(t))
	t.Cleanup(func() { assert.Empty(t, up.taken()) })
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
		"wrong credential too": {http.MethodGet, []string{"Sec-Fetch-Mode: navigate", basicHeader("wrong")}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := g.do(c.method, "/a/b?x=1&y=//evil", "", c.headers...)
			assert.Equal(t, c.status, a.status)
			if c.status == 302 {
				assert.Equal(t, "/login/?next=%2Fa%2Fb%3Fx%3D1%26y%3D%2F%2Fevil", a.header.Get("Location"))
			}
			assert.Equal(t, "no-store", a.header.Get("Cache-Control"))
		})
	}
}
