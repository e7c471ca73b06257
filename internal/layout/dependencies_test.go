package layout

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// reviewed is the list of what go.mod may ask for, a line each: the module, its
// licences with a + between them, and why it is there.
const reviewed = "../../tools/dependencies.txt"

// licences are those that what users link may have. None of them asks anything
// of the code that it is linked with.
var licences = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MPL-2.0", "Unlicense"}

// moduleInfo is what `go list -m` says of a module.
type moduleInfo struct {
	Path    string
	Version string
	Dir     string // empty: it is not linked, and so was never fetched
	Main    bool
}

// E46: a module that nobody has looked at doesn't come in by an update of another.
func TestE46EveryDependencyIsReviewed(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(reviewed)
	require.NoError(t, err)
	known := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		words := strings.Fields(line)
		require.GreaterOrEqual(t, len(words), 3, "module, licences and reason are needed: %s", line)
		require.NotContains(t, known, words[0], "listed twice")
		known[words[0]] = words[1]
		for licence := range strings.SplitSeq(words[1], "+") {
			assert.Contains(t, licences, licence, words[0])
		}
	}
	for _, m := range required(t) {
		licence, ok := known[m.Path]
		delete(known, m.Path)
		if !assert.True(t, ok, "go.mod asks for %s, which tools/dependencies.txt doesn't list: look at it, and say there why it is needed", m.Path) || m.Dir == "" {
			continue
		}
		assert.Equal(t, licence, strings.Join(licencesIn(t, m.Dir), "+"), "licence of %s", m.Path)
	}
	assert.Empty(t, known, "listed, but go.mod doesn't ask for it")
}

// required are the modules that go.mod names, direct and indirect.
func required(t *testing.T) []moduleInfo {
	t.Helper()
	out, err := exec.Command("go", "mod", "edit", "-json", "../../go.mod").Output()
	require.NoError(t, err)
	var mod struct{ Require []moduleInfo }
	require.NoError(t, json.Unmarshal(out, &mod))
	require.Greater(t, len(mod.Require), 50)
	args := make([]string, 0, 3+len(mod.Require))
	args = append(args, "list", "-m", "-json")
	for _, m := range mod.Require {
		args = append(args, m.Path)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = "../.."
	out, err = cmd.Output()
	require.NoError(t, err)
	var all []moduleInfo
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var m moduleInfo
		err := d.Decode(&m)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		all = append(all, m)
	}
}

// texts are phrases by which a licence is known.
var texts = []struct {
	licence string
	text    *regexp.Regexp
}{
	{"Apache-2.0", regexp.MustCompile(`apache license,? version 2\.0|apache license version 2\.0`)},
	{"BSD-2-Clause", regexp.MustCompile(`redistribution and use in source and binary forms`)},
	{"BSD-3-Clause", regexp.MustCompile(`redistribution and use in source and binary forms.*(neither the name|may not be used to endorse|may be used to endorse)`)},
	{"CC0-1.0", regexp.MustCompile(`cc0 1\.0 universal`)},
	{"ISC", regexp.MustCompile(`permission to use, copy, modify,? (and/or|and) distribute this software`)},
	{"MIT", regexp.MustCompile(`permission is hereby granted, free of charge`)},
	{"MPL-2.0", regexp.MustCompile(`mozilla public license,? version 2\.0`)},
	{"Unlicense", regexp.MustCompile(`free and unencumbered software`)},
	{"GPL", regexp.MustCompile(`gnu (lesser |affero )?general public license,? version|gnu (lesser |affero )?general public license v?[123]`)},
}

var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying)([-._].*)?$`)

// licencesIn reads the licences of a module, which stand in its topmost folder.
func licencesIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var found []string
	for _, entry := range entries {
		if entry.IsDir() || !licenceFile.MatchString(entry.Name()) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		require.NoError(t, err)
		text := strings.Join(strings.Fields(strings.ToLower(string(data))), " ")
		for _, known := range texts {
			if known.text.MatchString(text) {
				found = append(found, known.licence)
			}
		}
	}
	slices.Sort(found)
	found = slices.Compact(found)
	if slices.Contains(found, "BSD-3-Clause") {
		found = slices.DeleteFunc(found, func(licence string) bool { return licence == "BSD-2-Clause" })
	}
	if slices.Contains(found, "MPL-2.0") { // which names those that it may be changed for
		found = slices.DeleteFunc(found, func(licence string) bool { return licence == "GPL" })
	}
	return found
}
