package basic

import (
	"fmt"
	"os"
	"strings"
)

// readHtpasswd reads a file of lines user:hash. Blank lines and those that
// begin with # are left out; hashes are taken as they stand.
func readHtpasswd(file string) ([]User, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("basic: htpasswd: %w", err)
	}
	var users []User
	seen := make(map[string]int)
	number := 0
	text := strings.TrimPrefix(string(data), "\ufeff") // as editors of Windows put it
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, hash, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("basic: %s:%d: a line user:hash is needed", file, number)
		}
		user := User{Name: name, Hash: hash}
		if err := user.check(); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, number, err)
		}
		if first := seen[name]; first > 0 {
			return nil, fmt.Errorf("basic: %s:%d: user '%s' is listed twice, first in line %d", file, number, name, first)
		}
		seen[name] = number
		users = append(users, user)
	}
	if len(users) == 0 {
		return nil, fmt.Errorf("basic: %s lists no user", file)
	}
	return users, nil
}
