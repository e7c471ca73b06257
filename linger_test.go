package edgeauth

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestWhatLingersIsDoneOnceThenOrAtTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l linger
		var early, late atomic.Int32
		l.add(time.Second, func() { early.Add(1) })
		l.add(time.Minute, func() { late.Add(1) })
		assert.Zero(t, early.Load(), "not yet")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		assert.EqualValues(t, 1, early.Load())
		assert.Zero(t, late.Load())
		l.flush()
		assert.EqualValues(t, 1, early.Load())
		assert.EqualValues(t, 1, late.Load(), "the process ends")
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.EqualValues(t, 1, late.Load())
	})
}
