package issuer

import (
	"bufio"
	"crypto/sha1" //nolint:gosec // what lists of breached passwords are made with
	"encoding/hex"
	"fmt"
	"os"
	"strings"
)

// breached are passwords that thieves know, by their SHA-1.
type breached map[[sha1.Size]byte]struct{}

// readBreached reads a list, a line each: a password, or the SHA-1 of one in hex,
// which a colon and a count may follow.
func readBreached(path string) (breached, error) {
	if path == "" {
		return nil, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("breached_passwords: %w", err)
	}
	defer func() { _ = file.Close() }()
	known := make(breached)
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if line == "" {
			continue
		}
		digest, _, _ := strings.Cut(line, ":")
		if sum, err := hex.DecodeString(digest); err == nil && len(sum) == sha1.Size {
			known[[sha1.Size]byte(sum)] = struct{}{}
			continue
		}
		known[sha1.Sum([]byte(line))] = struct{}{} //nolint:gosec // see above
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("breached_passwords '%s': %w", path, err)
	}
	return known, nil
}

func (b breached) has(password string) bool {
	_, known := b[sha1.Sum([]byte(password))] //nolint:gosec // see above
	return known
}
