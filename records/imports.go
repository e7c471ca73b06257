package records

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/edgeauth/caddy-edgeauth/passwords"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// It is kept of each user and token that was imported what they were then. So a
// second import changes only what has changed at the source since, and never brings
// back a token that was revoked here, or an old password.
const (
	importedUserKey  = "import_user:"
	importedTokenKey = "import_token:"
)

// ImportedUser is a user of another application, to be one of ours.
type ImportedUser struct {
	ID       string   `json:"id"` // the login name
	Active   bool     `json:"active"`
	Name     string   `json:"name,omitempty"`
	Email    string   `json:"email,omitempty"`
	Groups   []string `json:"groups"`
	PK       string   `json:"pk,omitempty"`
	Password string   `json:"password,omitempty"` // its hash; empty: none that can be used
}

// ImportedToken is a token of another application, to be one of ours.
type ImportedToken struct {
	Digest  string    `json:"digest"` // SHA-256 in hex
	User    string    `json:"user"`   // a login name
	Created time.Time `json:"created,omitzero"`
	Label   string    `json:"name,omitempty"`
	By      string    `json:"created_by,omitempty"`
}

// Refusal is something that could not be taken over, and why.
type Refusal struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

// refused is a Refusal's reason as an error.
type refused struct{ why string }

func (r *refused) Error() string { return r.why }

// Change is what became of something that was imported.
type Change string

// The changes.
const (
	Added     Change = "added"
	Changed   Change = "changed"
	Unchanged Change = "unchanged"
)

// imported is what is kept of an import.
type imported struct {
	form
	Pending  bool   `json:"pending,omitempty"` // it was interrupted
	Record   string `json:"record,omitempty"`  // digests of what it was
	Password string `json:"password,omitempty"`
}

// Importing says how to import.
type Importing struct {
	Overwrite bool // the source is right, whatever has been changed here
	DryRun    bool // nothing is written
}

// User takes over a user. Why one can't be is returned as text; an error is one of the
// store.
func (i Importing) User(ctx context.Context, s store.Store, user ImportedUser) (Change, string, error) {
	change, err := i.user(ctx, s, user)
	return change, reason(&err), err
}

// Token takes over a token, as User does.
func (i Importing) Token(ctx context.Context, s store.Store, token ImportedToken) (Change, string, error) {
	change, err := i.token(ctx, s, token)
	return change, reason(&err), err
}

// reason takes the reason of a refusal out of err.
func reason(err *error) string {
	if r, ok := errors.AsType[*refused](*err); ok {
		*err = nil
		return r.why
	}
	return ""
}

func (i Importing) user(ctx context.Context, s store.Store, user ImportedUser) (Change, error) {
	if err := CheckLoginName(user.ID); err != nil {
		return "", &refused{err.Error()}
	}
	if user.Password != "" {
		if err := passwords.Check(user.Password); err != nil {
			return "", &refused{err.Error()}
		}
	}
	now, err := user.digests()
	if err != nil {
		return "", err
	}
	var before imported
	_, err = get(ctx, s, importedUserKey+user.ID, &before)
	known := err == nil
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", err
	}
	held, err := GetUser(ctx, s, user.ID)
	exists := err == nil
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", err
	}
	takesAll := i.Overwrite || before.Pending
	switch {
	case takesAll:
	case known && !exists:
		return "", &refused{"was removed here since the last import; --overwrite brings it back"}
	case !known && exists:
		return "", &refused{"exists here already, and was not imported; --overwrite replaces it"}
	case known && before == now:
		return Unchanged, nil
	}
	change := Changed
	if !exists {
		change = Added
	}
	held.ID, held.Active, held.Name, held.Email, held.Groups, held.PK = user.ID, &user.Active, user.Name, user.Email, user.Groups, user.PK
	if err := pkIsFree(ctx, s, held); err != nil {
		return "", err
	}
	if i.DryRun {
		return change, nil
	}
	if err := put(ctx, s, importedUserKey+user.ID, imported{Pending: true}, 0); err != nil {
		return "", err
	}
	if takesAll || !known || before.Password != now.Password {
		if err := i.password(ctx, s, user); err != nil {
			return "", err
		}
	}
	if takesAll || !known || before.Record != now.Record {
		if err := PutUser(ctx, s, held); err != nil {
			return "", err
		}
	}
	return change, put(ctx, s, importedUserKey+user.ID, now, 0)
}

func (Importing) password(ctx context.Context, s store.Store, user ImportedUser) error {
	if user.Password == "" {
		return s.Delete(ctx, passwordKey+user.ID)
	}
	if err := noteKind(ctx, s, user.Password); err != nil {
		return err
	}
	return SetPassword(ctx, s, user.ID, user.Password)
}

// pkIsFree refuses a primary key that another user has.
func pkIsFree(ctx context.Context, s store.Store, user User) error {
	if user.PK == "" {
		return nil
	}
	other, err := UserByPK(ctx, s, user.PK)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	case other.ID != user.ID:
		return &refused{fmt.Sprintf("user '%s' has the primary key %s here", other.ID, user.PK)}
	}
	return nil
}

func (u ImportedUser) digests() (imported, error) {
	password := u.Password
	u.Password = ""
	u.Groups = slices.Clone(u.Groups)
	slices.Sort(u.Groups)
	record, err := json.Marshal(u) //nolint:gosec // without the password
	return imported{Record: digest(string(record)), Password: digest(password)}, err
}

func (i Importing) token(ctx context.Context, s store.Store, token ImportedToken) (Change, error) {
	if !isDigest(token.Digest) {
		return "", &refused{"it has no SHA-256 in hex"}
	}
	switch _, err := GetUser(ctx, s, token.User); {
	case errors.Is(err, store.ErrNotFound) && !i.DryRun:
		return "", &refused{"there is no user '" + token.User + "' here"}
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return "", err
	}
	var before imported
	_, err := get(ctx, s, importedTokenKey+token.Digest, &before)
	known := err == nil
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", err
	}
	held, _, err := getToken(ctx, s, tokenKey+token.Digest)
	exists := err == nil
	switch {
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return "", err
	case exists && held.User != token.User:
		return "", &refused{"it is a token of user '" + held.User + "' here"}
	case known && !exists && !i.Overwrite:
		return "", &refused{"it was revoked here since the last import; --overwrite brings it back"}
	case exists && known:
		return Unchanged, nil
	}
	change := Added
	if exists {
		change = Unchanged
	}
	if i.DryRun {
		return change, nil
	}
	if !exists {
		made := Token{User: token.User, Label: token.Label, Created: token.Created, CreatedBy: token.By}
		if _, err := putToken(ctx, s, token.Digest, made, 0); err != nil {
			return "", err
		}
	}
	return change, put(ctx, s, importedTokenKey+token.Digest, imported{}, 0)
}

func isDigest(text string) bool {
	return len(text) == digestLen && !slices.ContainsFunc([]byte(text), func(c byte) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'f')
	})
}
