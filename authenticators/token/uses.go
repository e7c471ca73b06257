package token

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/edgeauth/caddy-edgeauth/records"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// uses writes down when tokens were last used, while nobody waits. It is for people
// who look through their tokens: what the store has no time for is left out.
type uses struct {
	store  store.Store
	logger *zap.Logger

	mu      sync.Mutex // guards what follows
	noted   map[string]time.Time
	waiting []records.Token
	writing bool
}

const (
	maxNoted   = 10_000 // tokens that are known to be written down
	maxWaiting = 1_000
)

func newUses(s store.Store, logger *zap.Logger) *uses {
	return &uses{store: s, logger: logger, noted: make(map[string]time.Time)}
}

// note notes that a token is used now. It never waits.
func (u *uses) note(token records.Token) {
	now := time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	if now.Sub(u.noted[token.ID]) < records.UseEvery || len(u.waiting) == maxWaiting {
		return
	}
	if len(u.noted) == maxNoted {
		clear(u.noted)
	}
	u.noted[token.ID] = now
	u.waiting = append(u.waiting, token)
	if !u.writing {
		u.writing = true
		go u.write()
	}
}

// write ends when nothing is waiting any more.
func (u *uses) write() {
	for {
		u.mu.Lock()
		batch := u.waiting
		u.waiting = nil
		u.writing = len(batch) > 0
		u.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, token := range batch {
			err := records.NoteTokenUse(context.Background(), u.store, token)
			if err == nil {
				continue
			}
			if c := u.logger.Check(zapcore.DebugLevel, "last use of a token not written"); c != nil {
				c.Write(zap.String("token", token.ID), zap.Error(err))
			}
			break // the store does not answer: the rest would wait for nothing
		}
	}
}
