package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
)

// edgeAuth is the config of a Caddy with Edge Auth: a path for each case. STORE is
// what stands in its store's block.
const edgeAuth = `{
	admin ADMIN
	auto_https off
	edge_auth {
		store redis redis://REDIS/0 {
			STORE
		}
	}
}
http://ADDR {
	handle /plain {
		reverse_proxy UPSTREAM
	}
	handle /off {
		edge_auth off
		reverse_proxy UPSTREAM
	}
	handle /session {
		edge_auth {
			session custom {
				cookie sid
				key sess:{id}
				decode json
				user id
			}
		}
		reverse_proxy UPSTREAM
	}
	handle /checked {
		edge_auth {
			session custom {
				cookie sid
				key sess:{id}
				decode json
				user id
			}
			check_user
		}
		reverse_proxy UPSTREAM
	}
	handle /token {
		edge_auth {
			token
		}
		reverse_proxy UPSTREAM
	}
	handle /basic {
		edge_auth {
			basic
		}
		reverse_proxy UPSTREAM
	}
	JWT
}
`

const edgeAuthJWT = `handle /jwt-NAME {
		edge_auth {
			jwt {
				key ALG KEY
			}
		}
		reverse_proxy UPSTREAM
	}
	`

const forwardAuth = `{
	admin off
	auto_https off
}
http://ADDR {
	handle /plain {
		reverse_proxy UPSTREAM
	}
	handle /session {
		forward_auth SERVICE {
			uri /
			copy_headers Remote-User
		}
		reverse_proxy UPSTREAM
	}
}
`

const nginx = `daemon off;
worker_processes 1;
pid DIR/nginx.pid;
error_log DIR/log;
events { worker_connections 1024; }
http {
	access_log off;
	client_body_temp_path DIR; proxy_temp_path DIR; fastcgi_temp_path DIR; uwsgi_temp_path DIR; scgi_temp_path DIR;
	upstream app { server UPSTREAM; keepalive 64; }
	upstream check { server SERVICE; keepalive 64; }
	proxy_http_version 1.1;
	server {
		listen ADDR;
		keepalive_requests 1000000000;
		location /plain { proxy_set_header Connection ""; proxy_pass http://app; }
		location /session {
			auth_request /check;
			auth_request_set $user $upstream_http_remote_user;
			proxy_set_header Remote-User $user;
			proxy_set_header Connection "";
			proxy_pass http://app;
		}
		location = /check {
			internal;
			proxy_pass http://check;
			proxy_pass_request_body off;
			proxy_set_header Content-Length "";
			proxy_set_header Connection "";
		}
	}
}
`

const haproxy = `global
	nbthread 1
defaults
	mode http
	timeout connect 5s
	timeout client 60s
	timeout server 60s
	http-reuse always
frontend in
	bind ADDR
	acl plain path /plain
	http-request set-var(txn.bearer) http_auth_bearer
	http-request deny deny_status 401 if { path /jwt-hs256 } !{ var(txn.bearer),jwt_verify("HS256","HS256KEY") -m int 1 }
	http-request deny deny_status 401 if { path /jwt-rs256 } !{ var(txn.bearer),jwt_verify("RS256","RS256KEY") -m int 1 }
	http-request deny deny_status 401 if { path /jwt-es256 } !{ var(txn.bearer),jwt_verify("ES256","ES256KEY") -m int 1 }
	http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int') if !plain
	http-request set-var(txn.now) date() if !plain
	http-request deny deny_status 401 if !plain { var(txn.exp),sub(txn.now) -m int lt 0 }
	http-request set-header Remote-User %[var(txn.bearer),jwt_payload_query('$.sub')] if !plain
	default_backend app
backend app
	server app UPSTREAM
`

// The sessions that are sent in turn.
const (
	sessions   = 5000
	sessionKey = "sess:"
	plainKey   = "plain:" // of the service that others ask
)

func sessionID(n int) string { return fmt.Sprintf("%032x", n) }

// makeSessions writes sessions for all gateways, and a script that sends them.
func (m *machine) makeSessions(name string, count int) (script string, err error) {
	conn, err := dialRedis(m.redis)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	err = conn.set(func(yield func(key, value string) bool) {
		for n := range count {
			id := sessionID(n)
			if !yield(sessionKey+id, `{"id":"alice","name":"Alice Liddell","email":"alice@example.com","cart":[1,2,3]}`) || !yield(plainKey+id, "alice") {
				return
			}
		}
	})
	if err != nil {
		return "", err
	}
	return m.rotating(name, "Cookie", "sid=", func(line func(string) error) error {
		for n := range count {
			if err := line(sessionID(n)); err != nil {
				return err
			}
		}
		return nil
	})
}

// peers are all gateways that are compared.
func peers(ctx context.Context, m *machine) ([]*gateway, error) {
	script, err := m.makeSessions("sessions", sessions)
	if err != nil {
		return nil, err
	}
	signers, err := m.signers()
	if err != nil {
		return nil, err
	}
	service := freeAddr()
	servicePID, err := m.start(ctx, gatewayCore, service, os.Args[0], "-serve", service, "-redis", m.redis)
	if err != nil {
		return nil, err
	}
	var all []*gateway
	kept, err := m.edgeAuth(ctx, "Edge Auth", "prefix kept:\n\t\t\tcache 100000 {\n\t\t\t\tmax_age 1h\n\t\t\t}", signers, script)
	if err != nil {
		return nil, err
	}
	anew, err := m.edgeAuth(ctx, "Edge Auth, cache off", "prefix anew:\n\t\t\tcache off", signers, script)
	if err != nil {
		return nil, err
	}
	all = append(all, kept, anew)

	session := func() []*benchCase {
		return []*benchCase{
			{name: "session", path: "/session", header: "Cookie: sid=" + sessionID(1), bad: "Cookie: sid=x", user: "alice", script: script},
		}
	}
	caddy, err := m.launch(ctx, "Caddy, forward_auth", forwardAuth, []string{"SERVICE", service}, func(config string) []string {
		return []string{os.Getenv("EDGE_AUTH_CADDY"), "run", "--config", config, "--adapter", "caddyfile"}
	})
	if err != nil {
		return nil, err
	}
	caddy.cases, caddy.pids = session(), append(caddy.pids, servicePID)
	ngx, err := m.launch(ctx, "nginx, auth_request", nginx, []string{"SERVICE", service, "DIR", m.dir}, func(config string) []string {
		return []string{"nginx", "-e", m.dir + "/log", "-c", config}
	})
	if err != nil {
		return nil, err
	}
	ngx.cases, ngx.pids = session(), append(ngx.pids, servicePID)
	var keys []string
	for _, s := range signers {
		keys = append(keys, s.alg+"KEY", s.key)
	}
	hap, err := m.launch(ctx, "HAProxy, jwt_verify", haproxy, keys, func(config string) []string {
		return []string{"haproxy", "-db", "-f", config}
	})
	if err != nil {
		return nil, err
	}
	for _, s := range signers {
		if s.alg != "EdDSA" { // which it can't check
			hap.cases = append(hap.cases, s.anew())
		}
	}
	return append(all, caddy, ngx, hap), nil
}

// launch runs a gateway with a config, in which names are replaced.
func (m *machine) launch(ctx context.Context, name, config string, vars []string, command func(config string) []string) (*gateway, error) {
	g := &gateway{name: name, address: freeAddr(), redis: m.redisPID}
	vars = append(vars, "ADDR", g.address, "UPSTREAM", m.upstream, "REDIS", m.redis)
	path, err := m.write(strings.ReplaceAll(name, " ", "-"), strings.NewReplacer(vars...).Replace(config))
	if err != nil {
		return nil, err
	}
	args := command(path)
	pid, err := m.start(ctx, gatewayCore, g.address, args[0], args[1:]...)
	g.pids = append(g.pids, pid)
	return g, err
}

// edgeAuth runs a Caddy with Edge Auth.
func (m *machine) edgeAuth(ctx context.Context, name, store string, signers []*jwtSigner, script string) (*gateway, error) {
	var jwt strings.Builder
	for _, s := range signers {
		jwt.WriteString(strings.NewReplacer("NAME", strings.ToLower(s.alg), "ALG", s.alg, "KEY", s.key, "UPSTREAM", m.upstream).Replace(edgeAuthJWT))
	}
	admin := freeAddr()
	g, err := m.launch(ctx, name, edgeAuth, []string{"STORE", store, "ADMIN", admin, "JWT", jwt.String()}, func(config string) []string {
		return []string{os.Getenv("EDGE_AUTH_CADDY"), "run", "--config", config, "--adapter", "caddyfile"}
	})
	if err != nil {
		return nil, err
	}
	if err := waitFor(ctx, admin); err != nil {
		return nil, err
	}
	g.admin = admin
	password := rand.Text()
	api := "http://" + admin + "/edge_auth"
	if _, err := make1(ctx, api+"/users", `{"id":"alice","password":"`+password+`","groups":["staff"]}`, "id"); err != nil {
		return nil, err
	}
	token, err := make1(ctx, api+"/tokens", `{"user":"alice","ttl":"2h"}`, "token")
	if err != nil {
		return nil, err
	}
	basic, err := http.NewRequestWithContext(ctx, http.MethodGet, api, http.NoBody)
	if err != nil {
		return nil, err
	}
	basic.SetBasicAuth("alice", password)
	good := "Cookie: sid=" + sessionID(1)
	g.cases = []*benchCase{
		{name: "strips only", path: "/off", script: script},
		{name: "session", path: "/session", header: good, bad: "Cookie: sid=x", user: "alice", script: script},
		{name: "session, check_user", path: "/checked", header: good, bad: "Cookie: sid=x", user: "alice", script: script},
		{name: "token", path: "/token", header: "Authorization: Token " + token, bad: "Authorization: Token x", user: "alice"},
	}
	if !strings.Contains(store, "cache off") {
		g.cases = append(g.cases, &benchCase{name: "basic", path: "/basic", header: "Authorization: " + basic.Header.Get("Authorization"), bad: "Authorization: Basic eDp4", user: "alice"})
	}
	for _, s := range signers {
		c := s.anew()
		if !strings.Contains(store, "cache off") { // few of them, so that all are kept
			c.name, c.script = "jwt "+s.alg, s.fewScript
		}
		g.cases = append(g.cases, c)
	}
	return g, nil
}

// make1 makes something through the admin API, and returns a member of the answer.
func make1(ctx context.Context, address, body, member string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader([]byte(body)))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	var answer map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("POST %s: %s: %v", address, resp.Status, answer)
	}
	text, _ := answer[member].(string)
	return text, nil
}

// growing is a gateway with more and more sessions.
func growing(ctx context.Context, m *machine) ([]*gateway, error) {
	signers := []*jwtSigner(nil)
	var all []*gateway
	for count := 100; count <= 1_000_000; count *= 10 {
		script, err := m.makeSessions(fmt.Sprint("sessions", count), count)
		if err != nil {
			return nil, err
		}
		g, err := m.edgeAuth(ctx, fmt.Sprintf("%d sessions", count), fmt.Sprintf("prefix n%d:", count)+"\n\t\t\tcache 1000000 {\n max_age 1h\n}", signers, script)
		if err != nil {
			return nil, err
		}
		g.cases = g.cases[1:2]
		all = append(all, g)
	}
	return all, nil
}
