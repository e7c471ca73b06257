package edgeauth

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
)

// In docs/reference, a comment such as <!-- metrics --> stands before each table or
// list that this test compares with the code, both ways.
func TestReferenceAndCodeAgree(t *testing.T) {
	t.Parallel()
	pages := readReference(t)
	code := readSource(t)
	for name, compare := range map[string]func(*testing.T, reference, *source){
		"options": compareOptions, "directives": compareDirectives, "placeholders": comparePlaceholders,
		"modules": compareModules, "presets": comparePresets, "lists": compareLists,
		"metrics": compareMetrics, "routes": compareRoutes, "commands": compareCommands,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compare(t, pages, code)
		})
	}
}

func compareDirectives(t *testing.T, pages reference, code *source) {
	var described []string
	for _, heading := range pages.headings {
		for _, span := range spans(heading) {
			if word := firstWord(span); strings.HasPrefix(word, "edge_auth") {
				described = append(described, word)
			}
		}
	}
	slices.Sort(described)
	assert.Equal(t, unique(code.directives), slices.Compact(described))
}

func comparePlaceholders(t *testing.T, pages reference, code *source) {
	for mark, of := range map[string]struct{ prefix, function string }{
		"placeholders: user":      {identity.PlaceholderPrefix, "identity Placeholder"},
		"placeholders: edge_auth": {judgementPrefix, "state.judgement"},
	} {
		var want []string
		for field := range code.labels[of.function] {
			want = append(want, "{"+of.prefix+field+"}")
		}
		if of.prefix == identity.PlaceholderPrefix {
			want = append(want, "{"+of.prefix+"claims.<path>}")
		}
		assert.ElementsMatch(t, want, pages.firstCells(t, mark), mark)
	}
}

func compareModules(t *testing.T, pages reference, _ *source) {
	var want []string
	for _, id := range caddy.Modules() {
		module, err := caddy.GetModule(id)
		require.NoError(t, err)
		if of := reflect.TypeOf(module.New()); of.Kind() == reflect.Pointer && strings.HasPrefix(of.Elem().PkgPath(), "github.com/edgeauth/") {
			want = append(want, id)
		}
	}
	require.Greater(t, len(want), 5)
	assert.ElementsMatch(t, want, pages.firstCells(t, "modules"))
}

func comparePresets(t *testing.T, pages reference, _ *source) {
	assert.ElementsMatch(t, identity.PresetNames(), pages.firstCells(t, "presets: identity_headers"))
	for _, row := range pages.rows(t, "presets: identity_headers") {
		preset, ok := identity.PresetNamed(spans(row[0])[0])
		require.True(t, ok, row[0])
		var headers []string
		for _, cell := range row[1:] {
			for _, span := range spans(cell) {
				if regexp.MustCompile(`^[A-Z][\w-]+$`).MatchString(span) {
					headers = append(headers, span)
				}
			}
		}
		assert.ElementsMatch(t, preset.Headers(), headers, row[0])
	}
}

// compareLists has a guest tell the words that it knows, by asking it for another.
func compareLists(t *testing.T, pages reference, _ *source) {
	known := regexp.MustCompile(`; [a-z ]+: (.*), at Testfile`)
	for list, config := range map[string]string{
		"session presets":    "session ??",
		"session signatures": "session custom {\n signature ??\n cookie c\n key k:{id}\n user u\n secret s\n}",
		"session formats":    "session custom {\n decode ??\n cookie c\n key k:{id}\n user u\n}",
		"jwt presets":        "jwt {\n preset ??\n}",
	} {
		module, err := caddy.GetModule(authenticators.Namespace + "." + firstWord(config))
		require.NoError(t, err)
		err = module.New().(caddyfile.Unmarshaler).UnmarshalCaddyfile(caddyfile.NewTestDispenser(config))
		require.Error(t, err)
		told := known.FindStringSubmatch(err.Error())
		require.NotNil(t, told, err.Error())
		assert.ElementsMatch(t, strings.Split(told[1], ", "), spans(strings.Join(pages.lines(t, "list: "+list), "\n")), list)
	}
}

func compareMetrics(t *testing.T, pages reference, _ *source) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	require.NoError(t, registerMetrics(ctx))
	described := make(chan *prometheus.Desc, 1000)
	ctx.GetMetricsRegistry().Describe(described)
	close(described)
	var want []string
	form := regexp.MustCompile(`fqName: "(caddy_edge_auth_\w+)".*variableLabels: (\{.*\})\}$`)
	for desc := range described {
		if parts := form.FindStringSubmatch(desc.String()); parts != nil {
			want = append(want, strings.TrimSuffix(parts[1]+parts[2], "{}"))
		}
	}
	assert.ElementsMatch(t, want, pages.firstCells(t, "metrics"))
}

func compareRoutes(t *testing.T, pages reference, _ *source) {
	assert.ElementsMatch(t, slices.Collect(maps.Keys(adminRoutes)), pages.firstCells(t, "routes"))
}

func compareCommands(t *testing.T, pages reference, _ *source) {
	root := &cobra.Command{Use: "edge-auth"}
	caddycmd.Commands()["edge-auth"].CobraFunc(root)
	want := make(map[string][]string)
	var walk func(path string, cmd *cobra.Command)
	walk = func(path string, cmd *cobra.Command) {
		for _, child := range cmd.Commands() {
			name := path + child.Use
			if child.Runnable() {
				want[name] = flagsOf(child.Flags())
			}
			walk(name+" ", child)
		}
	}
	walk("", root)
	described := make(map[string][]string)
	for _, row := range pages.rows(t, "commands") {
		flags := spans(row[1])
		slices.Sort(flags)
		described[spans(row[0])[0]] = flags
	}
	assert.Equal(t, want, described)
	all := spans(pages.texts["commands.md"])
	for _, flag := range flagsOf(root.PersistentFlags()) {
		assert.Contains(t, all, flag)
	}
}

func flagsOf(set *pflag.FlagSet) []string {
	flags := []string{}
	set.VisitAll(func(flag *pflag.Flag) { flags = append(flags, "--"+flag.Name) })
	slices.Sort(flags)
	return flags
}

// reference is what docs/reference says.
type reference struct {
	texts    map[string]string   // each page
	headings []string            // of all pages
	marked   map[string][]string // the lines that stand below each comment
}

var marker = regexp.MustCompile(`^<!-- (.*) -->$`)

func readReference(t *testing.T) reference {
	t.Helper()
	files, err := filepath.Glob("docs/reference/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	r := reference{texts: make(map[string]string), marked: make(map[string][]string)}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		r.texts[filepath.Base(file)] = string(text)
		below := ""
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			switch found := marker.FindStringSubmatch(line); {
			case found != nil:
				below = found[1]
				assert.NotContains(t, r.marked, below, "it stands twice")
				r.marked[below] = nil
			case line == "":
				below = ""
			case strings.HasPrefix(line, "#"):
				r.headings = append(r.headings, line)
			case below != "":
				r.marked[below] = append(r.marked[below], line)
			}
		}
	}
	return r
}

func (r reference) lines(t *testing.T, mark string) []string {
	t.Helper()
	require.NotEmpty(t, r.marked[mark], "docs/reference has nothing below <!-- %s -->", mark)
	return r.marked[mark]
}

// rows gives the cells of a table, but for its heading.
func (r reference) rows(t *testing.T, mark string) [][]string {
	t.Helper()
	lines := r.lines(t, mark)
	rows := make([][]string, 0, len(lines))
	for _, line := range lines[min(2, len(lines)):] {
		line = strings.ReplaceAll(strings.Trim(line, "|"), `\|`, "\x00")
		cells := strings.Split(line, "|")
		for i := range cells {
			cells[i] = strings.ReplaceAll(cells[i], "\x00", "|")
		}
		rows = append(rows, cells)
	}
	return rows
}

// firstCells gives what stands in backquotes in the first column of a table.
func (r reference) firstCells(t *testing.T, mark string) []string {
	t.Helper()
	rows := r.rows(t, mark)
	all := make([]string, 0, len(rows))
	for _, row := range rows {
		all = append(all, spans(row[0])...)
	}
	return all
}

var span = regexp.MustCompile("`([^`]+)`")

// spans lists what stands in backquotes.
func spans(text string) []string {
	found := span.FindAllStringSubmatch(text, -1)
	all := make([]string, 0, len(found))
	for _, one := range found {
		all = append(all, one[1])
	}
	return all
}

func firstWord(text string) string {
	word, _, _ := strings.Cut(text, " ")
	return word
}

func unique(words []string) []string { return slices.Compact(slices.Sorted(slices.Values(words))) }
