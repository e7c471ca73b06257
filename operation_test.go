package edgeauth

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// series are the names under which our metrics are stored, with their labels.
func series() map[string][]string {
	all := make(map[string][]string)
	for _, collector := range collectors() {
		descriptions := make(chan *prometheus.Desc, 10)
		collector.Describe(descriptions)
		close(descriptions)
		for description := range descriptions {
			name, labels := describe(description)
			if _, ok := collector.(*prometheus.HistogramVec); !ok {
				all[name] = labels
				continue
			}
			all[name+"_bucket"] = append(labels, "le")
			all[name+"_sum"], all[name+"_count"] = labels, labels
		}
	}
	return all
}

var described = regexp.MustCompile(`fqName: "([a-z_]+)".*variableLabels: \{([a-z_,]*)\}`)

func describe(description *prometheus.Desc) (name string, labels []string) {
	found := described.FindStringSubmatch(description.String())
	return found[1], strings.Split(found[2], ",")
}

var (
	selector = regexp.MustCompile(`(caddy_edge_auth_[a-z0-9_]+)(\{[^}]*\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)"`)
)

// uses checks what an expression refers to, and returns the metrics.
func uses(t *testing.T, expression string) (names []string) {
	t.Helper()
	known := series()
	for _, found := range selector.FindAllStringSubmatch(expression, -1) {
		labels, ok := known[found[1]]
		assert.True(t, ok, "%s: there is no %s", expression, found[1])
		for _, label := range matcher.FindAllStringSubmatch(found[2], -1) {
			assert.Contains(t, append([]string{"instance", "job"}, labels...), label[1], "%s: %s has no such label", expression, found[1])
		}
		names = append(names, found[1])
	}
	assert.NotEmpty(t, names, "%s refers to no metric of ours", expression)
	return names
}

type dashboard struct {
	Title      string
	Panels     []panel
	Templating struct {
		List []struct {
			Name  string
			Query any
		}
	}
}

type panel struct {
	ID      int
	Type    string
	Title   string
	GridPos struct{ H, W, X, Y int }
	Targets []struct{ RefID, Expr, LegendFormat string }
}

func TestDashboardShowsEachMetricThatThereIsAndNoOther(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("docs/operation/grafana-dashboard.json")
	require.NoError(t, err)
	var d dashboard
	require.NoError(t, json.Unmarshal(data, &d))
	require.NotEmpty(t, d.Title)
	var ids []int
	var shown []string
	taken := make(map[[2]int]string)
	for _, p := range d.Panels {
		assert.NotContains(t, ids, p.ID, p.Title)
		ids = append(ids, p.ID)
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				place := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				assert.Less(t, place[0], 24, p.Title)
				assert.Empty(t, taken[place], "%s is on top of it", p.Title)
				taken[place] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		assert.NotEmpty(t, p.Targets, p.Title)
		for _, target := range p.Targets {
			shown = append(shown, uses(t, target.Expr)...)
			assert.Contains(t, target.Expr, `instance=~"$instance"`, "%s shows all gateways, whichever is chosen", p.Title)
		}
	}
	for name := range series() {
		base, isPart := histogramOf(name)
		if isPart {
			assert.True(t, slices.ContainsFunc(shown, func(s string) bool { return strings.HasPrefix(s, base) }), "%s is on no panel", base)
		} else {
			assert.Contains(t, shown, name, "it is on no panel")
		}
	}
	for _, variable := range d.Templating.List {
		if query, ok := variable.Query.(map[string]any); ok {
			uses(t, query["query"].(string))
		}
	}
}

func histogramOf(name string) (string, bool) {
	for _, part := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, part); ok {
			return base, true
		}
	}
	return name, false
}

type rules struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert       string
			Expr        string
			For         string
			Labels      map[string]string
			Annotations map[string]string
		}
	}
}

func TestAlertsReferToMetricsThatThereAreAndAreExplained(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("docs/operation/alerts.yml")
	require.NoError(t, err)
	decoder := yaml.NewDecoder(strings.NewReader(string(data)))
	decoder.KnownFields(true)
	var all rules
	require.NoError(t, decoder.Decode(&all))
	explained, err := os.ReadFile("docs/operation/README.md")
	require.NoError(t, err)
	var names []string
	for _, group := range all.Groups {
		for _, rule := range group.Rules {
			uses(t, rule.Expr)
			assert.NotContains(t, names, rule.Alert)
			names = append(names, rule.Alert)
			assert.Contains(t, []string{"info", "warning", "critical"}, rule.Labels["severity"], rule.Alert)
			assert.NotEmpty(t, rule.Annotations["summary"], rule.Alert)
			assert.NotEmpty(t, rule.Annotations["description"], rule.Alert)
			assert.Contains(t, string(explained), "`"+rule.Alert+"`")
		}
	}
	assert.GreaterOrEqual(t, len(names), 7)
}

func TestGuideToOperationNamesEachMetric(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("docs/operation/README.md")
	require.NoError(t, err)
	for _, name := range metricNames() {
		assert.Contains(t, string(data), "`"+name+"`")
	}
	for _, found := range selector.FindAllStringSubmatch(string(data), -1) {
		assert.Contains(t, metricNames(), found[1], "there is no such metric")
	}
}

func TestMetricNamesAreListedOnce(t *testing.T) {
	t.Parallel()
	names := metricNames()
	assert.Len(t, slices.Compact(slices.Clone(names)), len(names))
	for _, name := range names {
		assert.Regexp(t, `^caddy_edge_auth_[a-z_]+$`, name)
	}
	assert.Contains(t, names, "caddy_edge_auth_requests_total")
	assert.Contains(t, names, "caddy_edge_auth_logins_total")
}

// metricNames lists the names of all our metrics, sorted.
func metricNames() []string {
	descriptions := make(chan *prometheus.Desc)
	go func() { // ends with the last description
		defer close(descriptions)
		for _, collector := range collectors() {
			collector.Describe(descriptions)
		}
	}()
	var names []string
	for description := range descriptions {
		_, rest, _ := strings.Cut(description.String(), `fqName: "`) // no other way leads there
		name, _, _ := strings.Cut(rest, `"`)
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
