package edgeauth

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	links   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	fenced  = regexp.MustCompile("(?ms)^```.*?^```")
)

func TestLinksInTheDocsLeadSomewhere(t *testing.T) {
	t.Parallel()
	var pages []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		pages = append(pages, found...)
	}
	require.Greater(t, len(pages), 10)
	for _, page := range pages {
		for _, link := range links.FindAllStringSubmatch(prose(t, page), -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			path, anchor, _ := strings.Cut(link[1], "#")
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), filepath.FromSlash(path))
			}
			if !assert.FileExists(t, withReadme(target), "%s: %s", page, link[1]) || anchor == "" {
				continue
			}
			assert.Contains(t, anchors(prose(t, target)), anchor, "%s: %s", page, link[1])
		}
	}
}

// withReadme is what a page on a folder's files leads to, if path is a folder.
func withReadme(path string) string {
	if entries, err := os.ReadDir(path); err == nil && len(entries) > 0 {
		return filepath.Join(path, entries[0].Name())
	}
	return path
}

// prose is a page without its blocks of code.
func prose(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	return fenced.ReplaceAllString(string(text), "")
}

// anchors are those that GitHub gives to the headings of a page.
func anchors(text string) []string {
	var all []string
	for _, found := range heading.FindAllStringSubmatch(text, -1) {
		anchor := strings.Map(func(c rune) rune {
			switch {
			case c == ' ':
				return '-'
			case slices.Contains([]rune("-_"), c), 'a' <= c && c <= 'z', '0' <= c && c <= '9', c > 127 && c != '…':
				return c
			}
			return -1
		}, strings.ToLower(found[1]))
		all = append(all, anchor)
	}
	return all
}
