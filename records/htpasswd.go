package records

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/passwords"
)

// HashedUser is a user who stands in a config or a file.
type HashedUser struct {
	Name string
	Hash string // bcrypt, or argon2id in PHC form
}

// Check says what is wrong with it, if anything.
func (u HashedUser) Check() error {
	if !identity.ValidID(u.Name) || strings.Contains(u.Name, ":") {
		return fmt.Errorf("user name '%s': no colon, no control characters and no blanks at the ends, please", u.Name)
	}
	if err := passwords.Check(u.Hash); err != nil {
		return fmt.Errorf("user '%s': %w", u.Name, err)
	}
	return nil
}

// HashedUsers are those who may log in by a config or a file. The zero value is
// nobody.
type HashedUsers struct {
	hashes map[string]string
	dummy  string // so that an unknown user costs what the first known one does
}

// Add adds a user.
func (u *HashedUsers) Add(user HashedUser) error {
	if err := user.Check(); err != nil {
		return err
	}
	if u.Has(user.Name) {
		return fmt.Errorf("user '%s' is listed twice", user.Name)
	}
	if u.hashes == nil {
		u.hashes = make(map[string]string)
		u.dummy = passwords.Dummy(user.Hash)
	}
	u.hashes[user.Name] = user.Hash
	return nil
}

// Has reports whether a user is among them.
func (u *HashedUsers) Has(name string) bool { return u.hashes[name] != "" }

// Empty reports whether it is nobody.
func (u *HashedUsers) Empty() bool { return len(u.hashes) == 0 }

// LogIn checks a password, as the function LogIn does with the store's.
func (u *HashedUsers) LogIn(ctx context.Context, verifier *passwords.Verifier, name, password string) error {
	hash := u.dummy
	if u.Has(name) {
		hash = u.hashes[name]
	}
	ok, err := verifier.Verify(ctx, name, password, hash)
	switch {
	case err != nil:
		return fmt.Errorf("checking password: %w", err)
	case !u.Has(name):
		return ErrUnknownUser
	case !ok:
		return errWrongPassword
	}
	return nil
}

// ReadHtpasswd adds the users of a file of lines user:hash. Blank lines and those
// that begin with # are left out; hashes are taken as they stand.
func (u *HashedUsers) ReadHtpasswd(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("htpasswd: %w", err)
	}
	before, lines := len(u.hashes), make(map[string]int)
	number := 0
	text := strings.TrimPrefix(string(data), "\ufeff") // as editors of Windows put it
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, hash, ok := strings.Cut(line, ":")
		err := errors.New("a line user:hash is needed")
		switch first := lines[name]; {
		case ok && first > 0:
			err = fmt.Errorf("user '%s' is listed twice, first in line %d", name, first)
		case ok:
			err = u.Add(HashedUser{name, hash})
		}
		lines[name] = number
		if err != nil {
			return fmt.Errorf("%s:%d: %w", file, number, err)
		}
	}
	if len(u.hashes) == before {
		return fmt.Errorf("%s lists no user", file)
	}
	return nil
}
