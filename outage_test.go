package edgeauth

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// D08: what answers every other call would write two lines for each.
func TestD08StoreThatAnswersNowAndThenIsToldOfOnce(t *testing.T) {
	t.Parallel()
	core, lines := observer.New(zapcore.InfoLevel)
	o := &outage{logger: zap.New(core)}
	broken := errors.New("broken")
	for range 1000 {
		require.Equal(t, broken, o.note(opGet, broken))
		require.NoError(t, o.note(opGet, nil))
	}
	assert.Equal(t, 1, lines.Len())
	o.reads.failed.Store(int64(store.Now() - backAfter))
	require.ErrorIs(t, o.note(opGet, store.ErrNotFound), store.ErrNotFound)
	assert.Equal(t, "store answers again", lines.All()[1].Message)
}

// D38: who is one too many, or goes away, says nothing of the store.
func TestD38FloodIsNoOutage(t *testing.T) {
	t.Parallel()
	core, lines := observer.New(zapcore.InfoLevel)
	o := &outage{logger: zap.New(core)}
	_ = o.note(opGet, store.ErrBusy)
	_ = o.note(opGet, context.Canceled)
	assert.Zero(t, lines.Len())
}
