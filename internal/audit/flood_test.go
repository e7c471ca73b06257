package audit

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestFloodOfWrongCredentialsFillsNoLogAndHidesNothingElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core, lines := observer.New(zapcore.InfoLevel)
		l := New(zap.New(core))
		rejected := func(client, policy string) {
			r := request("/", nil)
			r.RemoteAddr = client + ":1"
			l.Write(r, Event{Name: CredentialRejected, Policy: policy})
		}
		of := func(name string) int { return lines.FilterField(zap.String("event", name)).Len() }
		for range 10_000 {
			rejected("192.0.2.1", "api")
		}
		require.Equal(t, mostOfClient, of(CredentialRejected))
		rejected("192.0.2.2", "api")
		require.Equal(t, mostOfClient+1, of(CredentialRejected), "one address hides no other")
		for i := range 10_000 {
			rejected(fmt.Sprintf("198.51.%d.%d", i/250, i%250), "api")
		}
		require.Equal(t, mostLines, of(CredentialRejected))
		rejected("192.0.2.1", "other")
		require.Equal(t, mostLines+1, of(CredentialRejected), "one policy hides no other")
		for range 2000 {
			for _, name := range []string{Login, LoginFailed, Logout, TokenRevoked, TokenReused, UserDisabled} {
				l.Write(request("/", nil), Event{Name: name, Policy: "api", User: "alice"})
			}
			l.Write(request("/", nil), Event{Name: LoginRefused})
		}
		for _, name := range []string{Login, LoginFailed, Logout, TokenRevoked, TokenReused, UserDisabled} {
			assert.Equal(t, 2000, of(name), "%s: none is lost", name)
		}
		assert.Equal(t, mostOfClient, of(LoginRefused))
		time.Sleep(minute)
		synctest.Wait()
		left := make(map[any]any)
		for _, line := range lines.FilterField(zap.String("event", LeftOut)).All() {
			fields := line.ContextMap()
			left[fields["of"]] = fields["count"]
		}
		assert.Equal(t, map[any]any{CredentialRejected: int64(20_001 - mostLines), LoginRefused: int64(2000 - mostOfClient)}, left)

		rejected("192.0.2.1", "api")
		assert.Equal(t, mostLines+2, of(CredentialRejected), "the next minute begins anew")
		l.Close()
		assert.Equal(t, 2, of(LeftOut), "nothing was left out in that")
		for range mostOfClient + 1 {
			rejected("192.0.2.1", "api")
		}
		l.Close()
		assert.Equal(t, 3, of(LeftOut))
	})
}
