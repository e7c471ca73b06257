package curl

import (
	"errors"
	"strings"
)

var errQuote = errors.New("a quote in the command line is not closed")

// split takes a command line apart as a POSIX shell does, and as bash does for $'…',
// which browsers write. Nothing in it is expanded.
func split(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	begun := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			if begun {
				words = append(words, word.String())
				word.Reset()
				begun = false
			}
		case c == '\\' && i+1 < len(line):
			i++
			if line[i] == '\r' && i+1 < len(line) && line[i+1] == '\n' {
				i++
			}
			if line[i] != '\n' { // else the line goes on
				word.WriteByte(line[i])
				begun = true
			}
		case c == '\'' || c == '"' || c == '$' && i+1 < len(line) && line[i+1] == '\'':
			begun = true
			text, end, err := quoted(line, i)
			if err != nil {
				return nil, err
			}
			word.WriteString(text)
			i = end
		default:
			word.WriteByte(c)
			begun = true
		}
	}
	if begun {
		words = append(words, word.String())
	}
	return words, nil
}

// quoted reads a quoted text that begins at i, and returns where it ends.
func quoted(line string, i int) (text string, end int, err error) {
	c := line[i]
	ansi := c == '$'
	if ansi {
		i++
		c = '\''
	}
	var b strings.Builder
	for i++; i < len(line); i++ {
		switch {
		case line[i] == c:
			return b.String(), i, nil
		case line[i] == '\\' && i+1 < len(line) && (ansi || c == '"' && strings.IndexByte("\\\"$`\n", line[i+1]) >= 0):
			i++
			b.WriteString(unescaped(line[i], ansi))
		default:
			b.WriteByte(line[i])
		}
	}
	return "", 0, errQuote
}

// unescaped is what a backslash and a character stand for.
func unescaped(c byte, ansi bool) string {
	if ansi {
		switch c {
		case 'n':
			return "\n"
		case 'r':
			return "\r"
		case 't':
			return "\t"
		}
	}
	if c == '\n' {
		return ""
	}
	return string([]byte{c})
}
