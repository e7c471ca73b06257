package keys

import (
	"compress/gzip"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestK09BytesCountAndNotWhatTheAnswerSaysTheyAre(t *testing.T) {
	t.Parallel()
	set := asSet(asJWK(&p256().PublicKey, `"kid":"a"`))
	for _, contentType := range []string{"application/jwk-set+json", "application/json; charset=utf-8", "text/html", "image/png", ""} {
		i := newIssuer(t)
		i.does(func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = []string{contentType}
			_, _ = io.WriteString(w, set)
		})
		assert.Equal(t, accepted, watch(t, i.URL).find("a"), contentType)
	}
	i := newIssuer(t)
	i.does(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, set)
		_ = z.Close()
	})
	assert.Equal(t, accepted, watch(t, i.URL).find("a"), "gzip")
}

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return authority{must(x509.ParseCertificate(der)), key}
}

func (a authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// secure is an issuer with TLS. change spoils what is good.
func (a authority) secure(t *testing.T, change func(*x509.Certificate, *tls.Config)) *issuer {
	t.Helper()
	config := new(tls.Config)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	change(template, config)
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	require.NoError(t, err)
	config.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	i := new(issuer)
	i.Server = httptest.NewUnstartedServer(i)
	i.Config.ErrorLog = log.New(io.Discard, "", 0)
	i.TLS = config
	i.StartTLS()
	t.Cleanup(i.Close)
	i.publishes("a")
	return i
}

// trusting watches a set whose issuer has a certificate of pool.
func trusting(t *testing.T, url string, pool *x509.CertPool) *watched {
	t.Helper()
	w := watch(t, url)
	w.source.client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: pool} //nolint:gosec // as the default is, but for the pool
	return w
}

func TestK16ConnectionToAnIssuerMustBeSafe(t *testing.T) {
	t.Parallel()
	ours := newAuthority(t)
	for name, c := range map[string]struct {
		signs  authority
		change func(*x509.Certificate, *tls.Config)
		want   string
	}{
		"good":    {ours, func(*x509.Certificate, *tls.Config) {}, accepted},
		"TLS 1.2": {ours, func(_ *x509.Certificate, c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, accepted},
		"TLS 1.1": {ours, func(_ *x509.Certificate, c *tls.Config) {
			c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		}, unavailable},
		"expired":    {ours, func(c *x509.Certificate, _ *tls.Config) { c.NotAfter = time.Now().Add(-time.Hour) }, unavailable},
		"not yet":    {ours, func(c *x509.Certificate, _ *tls.Config) { c.NotBefore = time.Now().Add(time.Minute) }, unavailable},
		"wrong name": {ours, func(c *x509.Certificate, _ *tls.Config) { c.IPAddresses, c.DNSNames = nil, []string{"idp.example.com"} }, unavailable},
		"for clients": {ours, func(c *x509.Certificate, _ *tls.Config) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}, unavailable},
		"untrusted": {newAuthority(t), func(*x509.Certificate, *tls.Config) {}, unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := c.signs.secure(t, c.change)
			assert.Equal(t, c.want, trusting(t, i.URL, ours.pool()).find("a"))
			assert.Equal(t, c.want == accepted, i.hits.Load() > 0)
			assert.Equal(t, unavailable, watch(t, i.URL).find("a"), "the system does not trust it")
		})
	}
}

func TestK18NoRedirectLeadsFromHTTPSToHTTP(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"http://idp.example.com/keys", "http://localhost/keys", "https://idp.example.com:444/keys"} {
		i, w := new(issuer), watch(t, "https://idp.example.com/keys")
		w.source.client.Transport = i
		var asked []string
		i.does(func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.URL.String())
			http.Redirect(w, r, target, http.StatusFound)
		})
		require.Equal(t, unavailable, w.find("a"))
		require.Equal(t, []string{"https://idp.example.com/keys"}, asked)
		require.NoError(t, w.Destruct())
	}
}

// endless is a body that has no end, and counts what is read of it.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	return copy(p, strings.Repeat(" ", len(p))), nil
}

func (*endless) Close() error { return nil }

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestK10NoMoreThanAMebibyteIsRead(t *testing.T) {
	t.Parallel()
	body := new(endless)
	w := watch(t, "https://idp.example.com/keys")
	w.source.client.Transport = roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: body, Header: make(http.Header)}, nil
	})
	require.Equal(t, unavailable, w.find("a"))
	assert.LessOrEqual(t, body.read, maxSetBytes+1)
}

func TestFailureIsFollowedByAnotherConnection(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	var from []string
	i.does(func(w http.ResponseWriter, r *http.Request) {
		from = append(from, r.RemoteAddr)
		w.WriteHeader(http.StatusBadGateway)
	})
	w := watch(t, i.URL)
	require.Equal(t, unavailable, w.find("a"))
	w.move(firstBackoff)
	require.Equal(t, unavailable, w.find("a"))
	require.Len(t, from, 2)
	assert.NotEqual(t, from[0], from[1])
}

func TestK12IssuerThatHangsBeforeItAnswersIsGivenUp(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	for _, scheme := range []string{"http", "https"} { // https hangs in the handshake
		w := watch(t, scheme+"://"+listener.Addr().String())
		w.source.timeout = 50 * time.Millisecond
		began := time.Now()
		require.Equal(t, unavailable, w.find("a"))
		require.Less(t, time.Since(began), fetchTimeout)
	}
}

func TestK21IssuerIsNotLookedForWhereItCannotBe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		configured, named, at string
		good                  bool
	}{
		{"idp.example.com", "idp.example.com", "192.0.2.1", true},
		{"idp.example.com", "idp.example.com", "10.0.0.1", true},
		{"idp.example.com", "keys.example.com", "10.0.0.1", true},
		{"idp.example.com", "idp.example.com", "127.0.0.1", true}, // as /etc/hosts may say
		{"idp.example.com", "keys.example.com", "127.0.0.1", false},
		{"idp.example.com", "keys.example.com", "127.9.9.9", false},
		{"idp.example.com", "keys.example.com", "::1", false},
		{"idp.example.com", "keys.example.com", "::ffff:127.0.0.1", false},
		{"idp.example.com", "localhost", "127.0.0.1", true}, // a proxy; no address of keys gets here
		{"idp.example.com", "127.0.0.1", "127.0.0.1", true},
		{"localhost", "localhost", "::1", true},
		{"idp.example.com", "idp.example.com", "169.254.169.254", false},
		{"idp.example.com", "idp.example.com", "::ffff:169.254.169.254", false},
		{"idp.example.com", "169.254.169.254", "169.254.169.254", false},
		{"idp.example.com", "idp.example.com", "fe80::1%eth0", false},
		{"idp.example.com", "idp.example.com", "0.0.0.0", false},
		{"idp.example.com", "idp.example.com", "::", false},
		{"idp.example.com", "idp.example.com", "224.0.0.1", false},
		{"169.254.1.2", "169.254.1.2", "169.254.1.2", true},
		{"169.254.1.2", "169.254.169.254", "169.254.169.254", false},
		{"169.254.1.2", "keys.example.com", "169.254.1.2", false},
	} {
		err := dialer{c.configured}.check(c.named, netip.MustParseAddr(c.at).Unmap())
		assert.Equal(t, c.good, err == nil, "%s for %s at %s: %v", c.named, c.configured, c.at, err)
	}

	// The address is judged as it is dialled, whatever the name.
	for address, want := range map[string]string{
		"https://169.254.169.254/keys": "169.254.169.254, where no issuer is looked for",
		"https://0.0.0.0:1/keys":       "0.0.0.0, where no issuer is looked for",
		"https://LOCALHOST:1/keys":     "which is this machine",
	} {
		i := newIssuer(t)
		i.says(`{"issuer":"` + i.URL + `","jwks_uri":"` + address + `"}`)
		_, err := watch(t, DiscoveryURL(i.URL)).Find(t.Context(), "a", "ES256")
		assert.ErrorContains(t, err, want)
	}
}

func TestK21IssuerElsewhereMayNotSendUsToThisMachine(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]"} {
		t.Run(host, func(t *testing.T) {
			inBubble(t, func(t *testing.T, i *issuer, _ *watched) {
				w := watch(t, DiscoveryURL("https://idp.example.com"))
				w.source.client.Transport = i
				asked := ""
				i.does(func(w http.ResponseWriter, r *http.Request) {
					asked += r.URL.Host
					_, _ = fmt.Fprintf(w, `{"issuer":"https://idp.example.com","jwks_uri":"http://%s/keys"}`, host)
				})
				_, err := w.Find(t.Context(), "a", "ES256")
				require.ErrorContains(t, err, "is this machine")
				require.Equal(t, "idp.example.com", asked)
			})
		})
	}
}

func TestK19KeysOnAnotherHostAreToldOnce(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	set := asSet(asJWK(&p256().PublicKey, `"kid":"a"`))
	i.does(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			_, _ = io.WriteString(w, set)
			return
		}
		_, port, _ := net.SplitHostPort(i.Listener.Addr().String())
		_, _ = fmt.Fprintf(w, `{"issuer":"%s","jwks_uri":"http://localhost:%s/keys"}`, i.URL, port)
	})
	w := watch(t, DiscoveryURL(i.URL))
	require.Equal(t, accepted, w.find("a"))
	w.refetch()
	told := w.logs.FilterMessageSnippet("on another host").All()
	require.Len(t, told, 1)
	assert.Equal(t, "localhost", told[0].ContextMap()["host"])
}

// What an issuer lists as supported widens nothing.
func TestK20AlgorithmsThatADiscoveryDocumentListsAreNotLookedAt(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	set := asSet(asJWK(&p256().PublicKey, `"kid":"a"`))
	i.does(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			_, _ = io.WriteString(w, set)
			return
		}
		_, _ = io.WriteString(w, strings.ReplaceAll(`{"issuer":"$","jwks_uri":"$/keys","id_token_signing_alg_values_supported":["none","HS256"]}`, "$", i.URL))
	})
	w := watch(t, DiscoveryURL(i.URL))
	require.Equal(t, accepted, w.find("a"))
	for _, alg := range []string{"none", "HS256", "RS256"} {
		found, err := w.Find(t.Context(), "a", alg)
		assert.Equal(t, rejected, outcome(t, found, err), alg)
	}
}

func TestK34SetsThatAreGivenBackLeaveNoConnection(t *testing.T) {
	t.Parallel()
	i := new(issuer)
	i.publishes("a")
	i.Server = httptest.NewUnstartedServer(i)
	var open atomic.Int64
	i.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed, http.StateHijacked:
			open.Add(-1)
		case http.StateActive, http.StateIdle:
		}
	}
	i.Start()
	t.Cleanup(i.Close)
	for range 100 {
		w := watch(t, i.URL)
		require.Equal(t, accepted, w.find("a"))
		require.NoError(t, w.Destruct())
	}
	require.Eventually(t, func() bool { return open.Load() == 0 }, 5*time.Second, time.Millisecond)
}
