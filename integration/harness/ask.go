package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"
)

// Command runs a caddy command and returns what it prints.
func (g *Gateway) Command(stdin string, args ...string) (string, error) {
	cmd := exec.Command(Caddy, args...)
	cmd.Env, cmd.Dir = g.Env, g.Dir
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	g.ran(stdin, args, out.String(), errs.String())
	if err != nil {
		return out.String(), fmt.Errorf("%w: %s", err, errs.String())
	}
	return strings.TrimSpace(out.String()), nil
}

// EdgeAuth runs `caddy edge-auth …` against this gateway. Caddy listens a moment
// before it calls its config the running one.
func (g *Gateway) EdgeAuth(stdin string, args ...string) string {
	g.T.Helper()
	var out string
	var err error
	Eventually(g.T, 10*time.Second, func() bool {
		out, err = g.Command(stdin, append([]string{"edge-auth", "--address", g.Admin}, args...)...)
		return err == nil || !strings.Contains(err.Error(), "is still starting") && !strings.Contains(err.Error(), "HTTP 503")
	}, "Caddy does not finish starting, or its store does not answer")
	require.NoError(g.T, err)
	return out
}

// Metrics returns what the admin API shows of them.
func (g *Gateway) Metrics() string {
	g.T.Helper()
	resp, err := Client.Get("http://" + g.Admin + "/metrics")
	require.NoError(g.T, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(g.T, err)
	return string(text)
}

// Reload loads another Caddyfile into the running Caddy.
func (g *Gateway) Reload(config string) error {
	_, err := g.Command("", "reload", "--config", config, "--adapter", "caddyfile", "--address", g.Admin)
	return err
}

// Answer is a response whose body has been read.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Client never follows redirects, and opens a connection for each request.
var Client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       20 * time.Second,
}

// Get asks for a path, with headers given as "Name: value".
func (g *Gateway) Get(path string, headers ...string) Answer {
	g.T.Helper()
	return g.Do(http.MethodGet, path, "", headers...)
}

// Do sends a request with a body and headers.
func (g *Gateway) Do(method, path, body string, headers ...string) Answer {
	g.T.Helper()
	a, err := Again(method, func() (Answer, error) { return g.Try(g.T.Context(), method, path, body, headers...) })
	require.NoError(g.T, err)
	return a
}

// HungUp reports whether a request failed as any reload of Caddy lets some fail, with
// and without this module: a connection that its old listener had queued is reset, and
// one that it had just taken is closed before it is read.
func HungUp(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// Again asks, and once more where any reload may hang up and the method lets a client ask again.
func Again[T any](method string, ask func() (T, error)) (T, error) {
	answer, err := ask()
	if method == http.MethodGet && HungUp(err) {
		return ask()
	}
	return answer, err
}

// Try is Do for a request that may fail.
func (g *Gateway) Try(ctx context.Context, method, path, body string, headers ...string) (Answer, error) {
	var payload io.Reader
	if body != "" {
		payload = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, g.URL+path, payload)
	if err != nil {
		return Answer{}, err
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header[name] = append(req.Header[name], value) // as written, not canonical
	}
	sent := g.sends(path, body, headers)
	resp, err := Client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	a := Answer{resp.StatusCode, resp.Header, string(data)}
	g.gets(a, sent)
	return a, err
}

// Raw sends bytes as they are and returns all that comes back.
func (g *Gateway) Raw(request string) string {
	g.T.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
	require.NoError(g.T, err)
	defer conn.Close()
	require.NoError(g.T, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(conn, request)
	require.NoError(g.T, err)
	reply, err := io.ReadAll(conn)
	require.NoError(g.T, err)
	return string(reply)
}

// PostJSON sends JSON to an endpoint.
func (g *Gateway) PostJSON(path, body string, headers ...string) Answer {
	g.T.Helper()
	return g.Do(http.MethodPost, path, body, append([]string{"Content-Type: application/json"}, headers...)...)
}

// Metric is what a series says, named as Prometheus prints it; -1: there is none.
func (g *Gateway) Metric(series string) float64 {
	g.T.Helper()
	for line := range strings.Lines(g.Metrics()) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			number, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			require.NoError(g.T, err)
			return number
		}
	}
	return -1
}

// AdminGet asks the admin API for a path below /edge_auth.
func (g *Gateway) AdminGet(path string, into any) int {
	g.T.Helper()
	resp, err := Client.Get("http://" + g.Admin + "/edge_auth" + path)
	require.NoError(g.T, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	require.NoError(g.T, err)
	require.NoError(g.T, json.Unmarshal(data, into), string(data))
	return resp.StatusCode
}

// CallAdmin uses the admin API.
func (g *Gateway) CallAdmin(method, path, body string) Answer {
	g.T.Helper()
	req, err := http.NewRequestWithContext(g.T.Context(), method, "http://"+g.Admin+"/edge_auth"+path, strings.NewReader(body))
	require.NoError(g.T, err)
	resp, err := Client.Do(req)
	require.NoError(g.T, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	require.NoError(g.T, err)
	return Answer{resp.StatusCode, resp.Header, string(data)}
}
