package basic

import (
	"fmt"
	"os"
	"strings"
)

// readHtpasswd reads a file of lines user:hash. Blank lines and those that
// begin with # are left out.
func readHtpasswd(file string) ([]User, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("basic: htpasswd: %w", err)
	}
	var users []User
	number := 0
	for line := range strings.Lines(string(data)) {
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
		users = append(users, user)
	}
	if len(users) == 0 {
		return nil, fmt.Errorf("basic: %s lists no user", file)
	}
	return users, nil
}
