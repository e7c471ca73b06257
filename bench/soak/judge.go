package main

import (
	"fmt"
	"maps"
	"time"
)

// outcome is what an answer was found to be.
type outcome int

const (
	through     outcome = iota // let through, as the right caller or as nobody
	refused                    // 401, and rightly so
	unavailable                // 503, while something that it needs was out of order
	late                       // 503 or 502, though nothing was: not wrong, but not promised either
	wrong                      // what must never happen
	outcomes
)

var outcomeNames = [outcomes]string{"through", "refused", "503 in a fault", "without", "wrong"}

// identity is what the upstream is told of a caller: identity headers by their
// folded names. Nobody is an empty one.
type identity map[string]string

// answer is what came back for a request.
type answer struct {
	status int
	nonce  string // that the upstream saw
	told   identity
	spoilt string // what else should not have reached the upstream
	body   string // where it did not come from the upstream
}

// asked is a request with all that is known of it when its answer is judged.
type asked struct {
	sent, got time.Time
	nonce     string
	good      bool     // the credential was right once, or none is needed
	caller    identity // whom the upstream must be told
	expires   time.Time
	revoking  time.Time     // from when on it may be refused; zero: it has not been revoked
	revoked   time.Time     // when that was acknowledged; zero: it has not been
	bound     time.Duration // how long after that it may still be accepted
	faulty    bool          // what it needs was out of order, or had been until shortly before
}

// judge says what an answer is, and if it is wrong, which promise it breaks.
func judge(q asked, a answer) (outcome, string) {
	switch {
	case a.status >= 200 && a.status < 300 || a.status == 101:
		return judgeThrough(q, a)
	case a.status == 401:
		return judgeRefused(q, a)
	case a.status == 503 && q.faulty:
		return unavailable, ""
	case a.status == 503:
		return late, "I6: 503, though nothing is out of order"
	case a.status == 502 && q.good:
		return late, "502: let through, but this program, which is the upstream too, did not answer"
	default:
		return wrong, fmt.Sprintf("status %d: %s", a.status, a.body)
	}
}

func judgeThrough(q asked, a answer) (outcome, string) {
	switch {
	case !q.good:
		return wrong, "I1: let through without a right credential"
	case a.nonce != q.nonce:
		return wrong, fmt.Sprintf("I2: the answer is that of the request %q", a.nonce)
	case !maps.Equal(a.told, q.caller):
		return wrong, fmt.Sprintf("I2: the upstream was told %v in place of %v", a.told, q.caller)
	case a.spoilt != "":
		return wrong, "the upstream saw " + a.spoilt
	case !q.expires.IsZero() && q.sent.After(q.expires):
		return wrong, fmt.Sprintf("I4: accepted %s after its end", q.sent.Sub(q.expires))
	case !q.revoked.IsZero() && q.sent.After(q.revoked.Add(q.bound)):
		return wrong, fmt.Sprintf("I4: accepted %s after its revocation was acknowledged", q.sent.Sub(q.revoked))
	}
	return through, ""
}

func judgeRefused(q asked, a answer) (outcome, string) {
	switch {
	case !q.good:
		return refused, ""
	case !q.revoking.IsZero() && !q.got.Before(q.revoking):
		return refused, ""
	case !q.expires.IsZero() && !q.got.Before(q.expires):
		return refused, ""
	case q.faulty:
		return wrong, "I3: a fault has turned a good credential into 401: " + a.body
	default:
		return wrong, "I7: a good credential is refused: " + a.body
	}
}
