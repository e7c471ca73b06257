package edgeauth

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/cache"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// Refusals are kept briefly, and in a cache of their own: so who sends one wrong
// credential again and again costs the store nothing, and who sends millions of them
// pushes nobody's identity out. They end at once when a record that they rest on
// appears or changes.
const (
	maxRefusals   = 10_000
	maxRefusalAge = 10 * time.Second
)

// keptRefusal is a refusal as it is kept.
type keptRefusal struct {
	Absent    bool                     `json:"absent,omitempty"`
	Code      string                   `json:"code,omitempty"`
	Detail    string                   `json:"detail,omitempty"`
	Messages  []authenticators.Message `json:"messages,omitempty"`
	Challenge string                   `json:"challenge,omitempty"`
	Cause     string                   `json:"cause,omitempty"`
}

// refusalKey is where the refusal of a credential is kept: that of a cookie is none
// of a header.
func refusalKey(key cache.Key, in authenticators.Place) cache.Key {
	key[0] ^= byte(in) //nolint:gosec // there are three places
	return key
}

// rememberRefusal keeps what becomes of a credential that is refused, if all of that
// stands in records. What rests on anything else, such as an issuer's keys, may be
// another at any time.
func (p *Policy) rememberRefusal(key cache.Key, err error, reads *store.Reads, old time.Duration) {
	var kept keptRefusal
	rejected, isRejected := errors.AsType[*authenticators.RejectedError](err)
	switch {
	case isRejected:
		kept = keptRefusal{Code: rejected.Code, Detail: rejected.Detail, Messages: rejected.Messages, Challenge: rejected.Challenge}
		if rejected.Cause != nil {
			kept.Cause = rejected.Cause.Error()
		}
	case errors.Is(err, authenticators.ErrNoCredential):
		kept.Absent = true
	default:
		return
	}
	stamps, end, known := reads.Known()
	if !known || len(stamps) == 0 && end.IsZero() {
		return
	}
	packed, err := json.Marshal(kept)
	if err != nil {
		return // it is looked up each time
	}
	p.app.refusals.Put(key, cache.Entry{Value: string(packed)}, stamps, old, end)
}

func unpackRefusal(packed string) error {
	var kept keptRefusal
	if err := json.Unmarshal([]byte(packed), &kept); err != nil {
		return err
	}
	if kept.Absent {
		return authenticators.ErrNoCredential
	}
	rejected := &authenticators.RejectedError{Code: kept.Code, Detail: kept.Detail, Messages: kept.Messages, Challenge: kept.Challenge}
	if kept.Cause != "" {
		rejected.Cause = errors.New(kept.Cause)
	}
	return rejected
}
