package embedded

import (
	"encoding/binary"
	"errors"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	sweepEvery = time.Minute
	sweepBatch = 1000 // records a transaction; others must get in between
)

// sweepNowAndThen deletes what has expired, until quit is closed.
func (s *Store) sweepNowAndThen(db *bolt.DB, quit <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-quit:
			return
		case <-ticker.C:
		}
		for full := true; full; {
			select {
			case <-quit:
				return
			default:
			}
			var err error
			if full, err = s.sweep(db); err != nil {
				break // an expired record is gone in any case; the next sweep tries again
			}
		}
	}
}

// sweep deletes one batch of expired records, and says whether it was full.
func (s *Store) sweep(db *bolt.DB) (bool, error) {
	now := s.now().UnixNano()
	var expired [][]byte
	err := s.guarded(func() error {
		return db.Update(func(tx *bolt.Tx) error {
			cursor := tx.Bucket(expiriesBucket).Cursor()
			for place, _ := cursor.First(); place != nil && len(expired) < sweepBatch; place, _ = cursor.Next() {
				if int64(binary.BigEndian.Uint64(place)) > now { //nolint:gosec // written by expiryEntry
					break
				}
				expired = append(expired, append([]byte(nil), place...))
			}
			for _, place := range expired {
				if err := removeExpired(tx, place); err != nil {
					return err
				}
			}
			return nil
		})
	})
	return len(expired) == sweepBatch, err
}

// removeExpired takes out the record at a place in the order of expiry, also
// one that can't be read: else it would be in the way of all later sweeps.
func removeExpired(tx *bolt.Tx, place []byte) error {
	key := place[8:]
	err := remove(tx, string(key))
	if _, unreadable := errors.AsType[*unreadableError](err); unreadable {
		err = errors.Join(tx.Bucket(recordsBucket).Delete(key), tx.Bucket(expiriesBucket).Delete(place))
	}
	return err
}
