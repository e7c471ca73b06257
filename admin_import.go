package edgeauth

import (
	"context"
	"net/http"

	"github.com/edgeauth/caddy-edgeauth/internal/audit"
	"github.com/edgeauth/caddy-edgeauth/records"
)

// maxImportBody is the longest batch of an import, in bytes.
const maxImportBody = 16 << 20

// importBatch is a part of an import.
type importBatch struct {
	Users     []records.ImportedUser  `json:"users"`
	Tokens    []records.ImportedToken `json:"tokens"`
	Overwrite bool                    `json:"overwrite"`
	DryRun    bool                    `json:"dry_run"`
}

// importReport says what became of an import.
type importReport struct {
	Users   map[records.Change]int `json:"users"`
	Tokens  map[records.Change]int `json:"tokens"`
	Refused []records.Refusal      `json:"refused"`
}

func newImportReport() *importReport {
	return &importReport{Users: make(map[records.Change]int), Tokens: make(map[records.Change]int), Refused: []records.Refusal{}}
}

// importRecords takes users over, and then tokens. What can't be is listed, and the
// rest is in.
func importRecords(app *App, r *http.Request) (any, error) {
	var batch importBatch
	if err := decodeLong(r, &batch, maxImportBody); err != nil {
		return nil, err
	}
	report := newImportReport()
	err := report.take(r.Context(), app, &batch)
	if batch.DryRun {
		return report, err
	}
	return did(report, audit.Event{Name: audit.Import, Records: report.changed()}), err
}

// take imports a batch.
func (r *importReport) take(ctx context.Context, app *App, batch *importBatch) error {
	how := records.Importing{Overwrite: batch.Overwrite, DryRun: batch.DryRun}
	for _, user := range batch.Users {
		change, why, err := how.User(ctx, app.store, user)
		if err != nil {
			return err
		}
		r.add(r.Users, change, "user '"+user.ID+"'", why)
	}
	for _, token := range batch.Tokens {
		change, why, err := how.Token(ctx, app.store, token)
		if err != nil {
			return err
		}
		r.add(r.Tokens, change, "token of user '"+token.User+"'", why)
	}
	return nil
}

// changed counts the records that are not as they were.
func (r *importReport) changed() map[string]int {
	count := func(of map[records.Change]int) int { return of[records.Added] + of[records.Changed] }
	return map[string]int{"user": count(r.Users), "token": count(r.Tokens)}
}

func (r *importReport) add(to map[records.Change]int, change records.Change, what, why string) {
	if why != "" {
		r.Refused = append(r.Refused, records.Refusal{What: what, Why: why})
		return
	}
	to[change]++
}

// merge adds what another part of the import says.
func (r *importReport) merge(other *importReport) {
	for change, n := range other.Users {
		r.Users[change] += n
	}
	for change, n := range other.Tokens {
		r.Tokens[change] += n
	}
	r.Refused = append(r.Refused, other.Refused...)
}
