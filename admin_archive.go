package edgeauth

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/internal/audit"
	"github.com/edgeauth/caddy-edgeauth/store"
	"github.com/edgeauth/caddy-edgeauth/store/embedded"
	"github.com/edgeauth/caddy-edgeauth/store/redis"
)

// embeddedOnly is what backup, restore and migrate say of Redis.
func embeddedOnly(what string) error {
	return &problem{http.StatusConflict, what + " is for the embedded store; this gateway keeps its records in Redis, which has ways of its own (RDB, AOF, replicas)"}
}

// backup answers with the file of the store.
func backup(app *App, r *http.Request) (any, error) {
	archiver, ok := app.store.Handle.(store.Archiver)
	if !ok {
		return nil, embeddedOnly("backup")
	}
	file, err := archiver.Backup(r.Context())
	return did(file, audit.Event{Name: audit.Backup}), err
}

// sendFile sends a backup, whose length tells the other end whether all of it came.
func sendFile(w http.ResponseWriter, file store.Backup) {
	defer file.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(file.Size(), 10))
	w.WriteHeader(http.StatusOK)
	if _, err := file.WriteTo(w); err != nil {
		panic(http.ErrAbortHandler) // the header has gone out; there is no other way to say so
	}
}

// restore puts a backup in the place of all records.
func restore(app *App, r *http.Request) (any, error) {
	archiver, ok := app.store.Handle.(store.Archiver)
	if !ok {
		return nil, embeddedOnly("restore")
	}
	before, err := archiver.Restore(r.Context(), r.Body)
	if errors.Is(err, embedded.ErrNoBackup) {
		return nil, badRequest("%v", err)
	}
	return did(map[string]string{
		"before":  before,
		"warning": "tokens, sessions and users are as they were when the backup was made: what was revoked since then is valid again",
	}, audit.Event{Name: audit.Restore}), err
}

// maxHold is for how long a store that was moved takes no changes at most.
const maxHold = 24 * time.Hour

// migration says where to move the records.
type migration struct {
	To     redis.Config   `json:"to"`
	Hold   caddy.Duration `json:"hold"`
	Merge  bool           `json:"merge"`
	DryRun bool           `json:"dry_run"`
}

// migrate copies all records to Redis. The store takes no changes meanwhile, nor for
// a time after, in which Caddy is to be given the new config: so nothing is lost.
func migrate(app *App, r *http.Request) (any, error) {
	exporter, ok := app.store.Handle.(store.Exporter)
	if !ok {
		return nil, embeddedOnly("migrate")
	}
	var how migration
	if err := decodeBody(r, &how); err != nil {
		return nil, err
	}
	hold, err := lifetimeOf(how.Hold, 10*time.Minute, maxHold)
	if err != nil {
		return nil, err
	}
	to, err := openTarget(r.Context(), &how)
	if err != nil {
		return nil, err
	}
	defer func() { _ = to.Destruct() }()
	if how.DryRun {
		moved, err := countRecords(r.Context(), exporter)
		return map[string]any{"records": moved}, err
	}
	moved, err := moveHeld(r.Context(), exporter, to, hold)
	return did(map[string]any{"records": moved, "held_until": time.Now().Add(hold).UTC().Truncate(time.Second)}, audit.Event{Name: audit.Migrate, Records: moved}), err
}

// openTarget opens the Redis that records are to be moved to, which must have none.
func openTarget(ctx context.Context, how *migration) (store.Handle, error) {
	if err := how.To.Provision(caddy.Context{Context: ctx}); err != nil {
		return nil, badRequest("%v", err)
	}
	to, err := how.To.New()
	if err != nil {
		return nil, badRequest("%v", err)
	}
	err = to.Ping(ctx)
	for _, list := range []string{"users", "tokens"} {
		var there []string
		if err == nil && !how.Merge {
			there, err = to.List(ctx, list)
		}
		if len(there) > 0 {
			err = &problem{http.StatusConflict, strconv.Itoa(len(there)) + " " + list + " are there already; another prefix, another database, or --merge, which replaces what is called the same, would do"}
		}
	}
	if err != nil {
		return nil, errors.Join(err, to.Destruct())
	}
	return to, nil
}

func countRecords(ctx context.Context, from store.Exporter) (map[string]int, error) {
	count := make(map[string]int)
	err := from.Export(ctx, func(item store.Item) error {
		count[kindOf(item.Key)]++
		return nil
	})
	return count, err
}

// moveHeld copies all records while the store takes no changes, and lets it take none
// for a time after.
func moveHeld(ctx context.Context, from store.Exporter, to store.Store, after time.Duration) (map[string]int, error) {
	from.Hold(maxHold)
	moved, err := move(ctx, from, to)
	if err != nil {
		after = 0
	}
	from.Hold(after)
	return moved, err
}

// movedAtOnce is how many records are on their way at a time.
const movedAtOnce = 32

// move copies all records, reads each back, and counts them by their kind.
func move(ctx context.Context, from store.Exporter, to store.Store) (map[string]int, error) {
	count := make(map[string]int)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(movedAtOnce)
	err := from.Export(ctx, func(item store.Item) error {
		count[kindOf(item.Key)]++
		group.Go(func() error { return moveOne(ctx, item, to) })
		return nil
	})
	return count, errors.Join(group.Wait(), err)
}

func moveOne(ctx context.Context, item store.Item, to store.Store) error {
	if err := to.Put(ctx, item.Key, item.Value, item.TTL, item.Lists...); err != nil {
		return err
	}
	if item.TTL > 0 && item.TTL < time.Minute {
		return nil // it may have ended by now
	}
	there, err := to.Get(ctx, item.Key)
	if err == nil && string(there.Value) != string(item.Value) {
		err = errors.New("a record is another once it was written: does somebody else write there?")
	}
	return err
}

// kindOf is what a record is, by its key.
func kindOf(key string) string {
	kind, _, _ := strings.Cut(key, ":")
	return kind
}
