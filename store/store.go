// Package store says what Edge Auth needs of the place where sessions, tokens,
// users and revocations live. Redis and the embedded store fulfil it, and
// store/storetest holds both to it.
//
// A store never guesses: ErrNotFound means that it looked and there is nothing.
// Whatever else goes wrong is another error, and callers treat it as unknown.
package store

import (
	"context"
	"errors"
	"io"
	"time"
)

// MaxValue is the largest value a store hands out, in bytes. A session or a
// token record is far smaller; what is larger is a mistake or an attack.
const MaxValue = 64 << 10

var (
	// ErrNotFound says that the store was asked and has no such record.
	ErrNotFound = errors.New("no such record")

	// ErrTooLarge says that there is a record, of more than MaxValue bytes.
	ErrTooLarge = errors.New("record is larger than 64 KiB")

	// ErrChanged says that a record is not, or no longer, what the caller saw.
	ErrChanged = errors.New("record has changed meanwhile")

	// ErrWrongType says that the key holds something that is not a plain value,
	// such as a Redis list.
	ErrWrongType = errors.New("key does not hold a plain value")

	// ErrBusy says that the store was not asked, since too many ask it at once. So
	// nothing is known, and the store may well be in good health.
	ErrBusy = errors.New("too many calls of the store at once")
)

// Record is what a key holds.
type Record struct {
	Value []byte

	// TTL is how long the record has still to live. Zero: it does not expire.
	TTL time.Duration
}

// Count is what a counter holds.
type Count struct {
	Value int64
	TTL   time.Duration // until it begins again at zero
}

// Reader reads keys as they stand, such as those that another application
// wrote. It never writes.
type Reader interface {
	// Get returns the record under key: ErrNotFound, ErrTooLarge, ErrWrongType,
	// or any other error if the store could not be asked.
	Get(ctx context.Context, key string) (Record, error)
}

// Store keeps our own records. Every key and list is a name of our own making
// (the store adds its prefix). Calls for one record return within the store's
// timeout; those for a long list take one timeout for each part of it at most.
type Store interface {
	Reader

	// Put writes a record, replacing what was there. A ttl of zero keeps it for
	// good; a negative one is an error. The key appears in each of lists until
	// the record is deleted or expires.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration, lists ...string) error

	// Swap writes a record if the key still holds old; where old is nil, if it
	// holds nothing. ErrChanged: it does not. Of those that swap at once, one
	// succeeds. The record stays in the lists where it is, and appears in these.
	Swap(ctx context.Context, key string, old, value []byte, ttl time.Duration, lists ...string) error

	// Add adds delta to a counter, and returns what it then holds and how long
	// that still counts. A counter begins at zero, and is forgotten a window after
	// its first change. It is no record: Get need not understand it.
	Add(ctx context.Context, key string, delta int64, window time.Duration) (Count, error)

	// Delete ends records for good. A key that does not exist is no error.
	Delete(ctx context.Context, keys ...string) error

	// Touch sets how long a record has still to live. It never brings one back:
	// ErrNotFound if it is gone.
	Touch(ctx context.Context, key string, ttl time.Duration) error

	// List returns the keys of the live records in a list, sorted.
	List(ctx context.Context, list string) ([]string, error)

	// Ping asks whether the store answers.
	Ping(ctx context.Context) error
}

// CheckPut says what is wrong with a value and lifetime that a store is to keep,
// if anything. Stores ask it before they write.
func CheckPut(value []byte, ttl time.Duration) error {
	switch {
	case ttl < 0:
		return errors.New("negative lifetime")
	case len(value) > MaxValue:
		return ErrTooLarge
	}
	return nil
}

// Namespace is where stores register as Caddy modules.
const Namespace = "edge_auth.stores"

// Handle is a store that is shared by all configs that name it, so that it
// lives on across reloads. The last one to let go closes it.
type Handle interface {
	Store

	// Destruct closes it. It is called once, after the last use.
	Destruct() error
}

// Adviser is a Handle that can tell what endangers the records in it.
type Adviser interface {
	// Advise returns a sentence for each danger. It fails only if the store could not
	// be asked.
	Advise(ctx context.Context) ([]string, error)
}

// Archiver is a Handle that can be copied into a file, and put back from one, while
// it is in use.
type Archiver interface {
	// Backup begins a copy of all records as they are at this moment: of how many
	// bytes it will be, and what writes it. Close ends it.
	Backup(ctx context.Context) (Backup, error)

	// Restore puts what Backup wrote in the place of all records, or, where it can't
	// be read, leaves them as they are. It returns where those are kept that it took
	// the place of.
	Restore(ctx context.Context, from io.Reader) (before string, err error)
}

// Backup is a copy that is about to be written.
type Backup interface {
	io.WriterTo
	io.Closer

	Size() int64
}

// Item is a record as it is moved to another store.
type Item struct {
	Record

	Key   string
	Lists []string
}

// Exporter is a Handle whose records can be moved to another store.
type Exporter interface {
	// Export calls take for each record that is live. The first error ends it.
	Export(ctx context.Context, take func(Item) error) error

	// Hold refuses all changes with ErrHeld for a time; zero ends that.
	Hold(d time.Duration)
}

// ErrHeld says that a store takes no changes, since it is being moved.
var ErrHeld = errors.New("the store is being moved to another place, and takes no changes meanwhile")

// Cache says what is kept in the process of what was found out from a store.
type Cache struct {
	// Entries is how many findings of usual size there is room for.
	Entries int

	// MaxAge is for how long one is kept at most.
	MaxAge time.Duration
}

// The bounds of a cache, where the config names none.
const (
	DefaultCacheEntries = 100_000
	DefaultCacheMaxAge  = time.Minute
)

// CacheProvider is a Provider whose config says what is kept.
type CacheProvider interface {
	Caching() Cache
}

// Provider is a store as config: what a Caddy guest module in Namespace is.
type Provider interface {
	// Key is all that defines the store; equal keys share one Handle. It may
	// hold secrets, so it is never shown.
	Key() string

	// New makes the store. It does no I/O, takes no lock and starts no
	// goroutine: the first use does, so that `caddy validate` stays harmless.
	New() (Handle, error)
}

// Named is a Provider that says which store it is, where people read it: without any
// secret, and in few words, since it is a label of metrics. Default: its module's name.
type Named interface {
	Name() string
}

// Foreign is what another application keeps, under keys as they stand. It is only
// read, but for Extend.
type Foreign interface {
	Reader

	// Fields returns those of the named fields that a hash has, and how long it has
	// still to live; zero: for good. It fails as Get does.
	Fields(ctx context.Context, key string, names ...string) (map[string][]byte, time.Duration, error)

	// Extend lets a key live for at least ttl from now on. It never shortens a life,
	// gives an end to one that has none, or brings a key back.
	Extend(ctx context.Context, key string, ttl time.Duration) error
}

// ForeignReader is a Handle that can also read what others keep in the same
// place.
type ForeignReader interface {
	Foreign() Foreign
}
