// Package words helps to read Caddyfiles: options of one word or many, and
// errors that say what was probably meant.
package words

import (
	"fmt"
	"strings"
)

// Unknown is the error for a word in a config that is none of known. It
// suggests the nearest: unknown preset 'djago'; did you mean 'django'?
// presets: custom, django
func Unknown(what, got string, known []string) error {
	list := plural(what) + ": " + strings.Join(known, ", ")
	if near := Suggest(got, known); near != "" {
		return fmt.Errorf("unknown %s '%s'; did you mean '%s'? %s", what, got, near, list)
	}
	return fmt.Errorf("unknown %s '%s'; %s", what, got, list)
}

func plural(word string) string {
	if stem, ok := strings.CutSuffix(word, "y"); ok {
		return stem + "ies"
	}
	return word + "s"
}

// Suggest returns the word of known that was probably meant, or nothing.
func Suggest(got string, known []string) string {
	best, least := "", 1+len(got)/3 // more edits than that is another word
	for _, word := range known {
		if d := distance(strings.ToLower(got), word); d <= least {
			best, least = word, d-1
		}
	}
	return best
}

// distance is how many characters must be added, dropped or replaced to make a
// into b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
