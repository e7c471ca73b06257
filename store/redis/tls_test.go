package redis

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/internal/freeport"
	"github.com/edgeauth/caddy-edgeauth/internal/redistest"
)

// authority signs certificates for tests.
type authority struct {
	dir, file string
	cert      *x509.Certificate
	key       *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	a.file, _ = a.sign(t, "ca", a.cert)
	return a
}

// sign writes a certificate and its key, and returns their files.
func (a *authority) sign(t *testing.T, name string, template *x509.Certificate) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	if a.key == nil {
		a.key = private
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	cert, key = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	return cert, key
}

// leaf is a certificate for a server or client on this machine.
func leaf(serial int64) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "leaf"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

func TestD18CertificatesAreCheckedOnBothSides(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	cert, key := ours.sign(t, "server", leaf(2))
	port := freeport.Take(t)
	redistest.Start(t, "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", ours.file, "--tls-auth-clients", "yes")
	cert, key = ours.sign(t, "client", leaf(3))
	strange, strangeKey := theirs.sign(t, "client", leaf(4))
	ended := leaf(5)
	ended.NotAfter = time.Now().Add(-time.Minute)
	endedCert, endedKey := ours.sign(t, "ended", ended)
	for name, c := range map[string]struct {
		tls *TLS
		ok  bool
	}{
		"good":                        {&TLS{CA: ours.file, Certificate: cert, Key: key}, true},
		"no client certificate":       {&TLS{CA: ours.file}, false},
		"one that has ended":          {&TLS{CA: ours.file, Certificate: endedCert, Key: endedKey}, false},
		"one that nobody trusts":      {&TLS{CA: ours.file, Certificate: strange, Key: strangeKey}, false},
		"a server that nobody trusts": {&TLS{CA: theirs.file, Certificate: cert, Key: key}, false},
		"authorities of the system":   {&TLS{Certificate: cert, Key: key}, false},
		"a server of another name":    {&TLS{CA: ours.file, Certificate: cert, Key: key, ServerName: "redis.example.com"}, false},
	} {
		g := newGateway(t, Config{URL: "rediss://127.0.0.1:" + port, TLS: c.tls})
		require.Eventually(t, func() bool { return (g.Ping(t.Context()) == nil) == c.ok }, 5*time.Second, 20*time.Millisecond, name)
		if c.ok {
			g.awaitTrust(t) // news comes the same way
		} else {
			assert.Error(t, g.Ping(t.Context()), name)
		}
	}
}
