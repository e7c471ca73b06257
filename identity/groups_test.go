package identity

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGroupsAreJoinedAsTheBackendSplitsThem(t *testing.T) {
	t.Parallel()
	groups := []string{"staff", "a,b", "c|d", "e f", "50%", " lead", "end ", "g\u00a0h", "n\n", `"q"`, "[x]", "", "zoë"}
	for name, c := range map[string]struct {
		separator Separator
		want      string
	}{
		"comma":   {Comma, `staff,a%2Cb,c|d,e f,50%25,%20lead,end%20,g` + "\u00a0" + `h,n%0A,"q",[x],zoë`},
		"pipe":    {Pipe, `staff|a,b|c%7Cd|e f|50%25|%20lead|end%20|g` + "\u00a0" + `h|n%0A|"q"|[x]|zoë`},
		"space":   {Space, `staff a,b c|d e%20f 50%25 %20lead end%20 g%C2%A0h n%0A "q" [x] zoë`},
		"Grafana": {grafanaList, `staff,a%2Cb,c|d,e%20f,50%25,%20lead,end%20,g%C2%A0h,n%0A,%22q%22,%5Bx],zoë`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, c.want, c.separator.Join(groups))
		})
	}
}

// grafanaItem is an item of a list, as Grafana reads the header of groups.
var grafanaItem = regexp.MustCompile(`"[^"]+"|[^,\t\n\v\f\r ]+`)

// No list of groups looks to a backend like one of another length.
func FuzzNoGroupLooksLikeTwo(f *testing.F) {
	for _, seed := range []string{"a", "a,b", "a|b", "a b", `"a`, `["a","b"]`, "%2C", "\u2028", "\xff,", "a\vb"} {
		f.Add(seed, seed)
		f.Add(seed, "x")
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		if first == "" || second == "" {
			return
		}
		groups := []string{first, second}
		assert.Len(t, strings.Split(Comma.Join(groups), ","), 2)
		assert.Len(t, strings.Split(Pipe.Join(groups), "|"), 2)
		assert.Len(t, strings.Fields(Space.Join(groups)), 2)
		list := grafanaList.Join(groups)
		assert.Len(t, grafanaItem.FindAllString(list, -1), 2)
		assert.False(t, strings.HasPrefix(strings.TrimSpace(list), "["))
	})
}

func TestNamesOfSeparators(t *testing.T) {
	t.Parallel()
	seen := make(map[Separator]bool)
	for _, name := range SeparatorNames {
		separator, ok := SeparatorNamed(name)
		require.True(t, ok, name)
		seen[separator] = true
	}
	assert.Len(t, seen, len(SeparatorNames))
	_, ok := SeparatorNamed("")
	assert.False(t, ok)
}

func TestPresetsSendWhatTheirBackendsRead(t *testing.T) {
	t.Parallel()
	who := &Identity{ID: "alice", Name: "Alice L.", Email: "alice@example.com", Groups: []string{"staff", "the board"}}
	for name, want := range map[string]http.Header{
		"grafana": {"X-Webauth-User": {"alice"}, "X-Webauth-Name": {"Alice L."}, "X-Webauth-Email": {"alice@example.com"}, "X-Webauth-Groups": {"staff,the%20board"}},
		"jenkins": {"X-Forwarded-User": {"alice"}, "X-Forwarded-Displayname": {"Alice L."}, "X-Forwarded-Mail": {"alice@example.com"}, "X-Forwarded-Groups": {"staff|the board"}},
		"django":  {"Remote-User": {"alice"}},
		"gitea":   {"X-Webauth-User": {"alice"}, "X-Webauth-Fullname": {"Alice L."}, "X-Webauth-Email": {"alice@example.com"}},
		"none":    {},
	} {
		preset, ok := PresetNamed(name)
		require.True(t, ok, name)
		h := make(http.Header)
		require.NoError(t, preset.Forward(h, who, new([PresetSize]string)))
		assert.Equal(t, want, h, name)
	}
}

// What was kept of an identity is its groups joined by commas, which other
// separators must not take for theirs.
func TestUnpackedIdentityIsJoinedByTheSeparatorAskedFor(t *testing.T) {
	t.Parallel()
	packed, err := Pack(nil, &Identity{ID: "alice", Groups: []string{"a|b", "c"}})
	require.NoError(t, err)
	var who Identity
	require.NoError(t, Unpack(string(packed), &who))
	preset, _ := PresetNamed("jenkins")
	h := make(http.Header)
	require.NoError(t, preset.Forward(h, &who, new([PresetSize]string)))
	assert.Equal(t, "a%7Cb|c", h.Get("X-Forwarded-Groups"))
	assert.Equal(t, "a|b,c", Placeholder(&who, "groups"), "the placeholder knows no separator but its own")
}

func TestNoClientMaySendAHeaderOfAPreset(t *testing.T) {
	t.Parallel()
	for _, name := range PresetNames() {
		preset, _ := PresetNamed(name)
		for _, header := range preset.Headers() {
			assert.True(t, WellKnown().Has(header), header)
			assert.Equal(t, http.CanonicalHeaderKey(header), header, "else others would not find it")
			require.NoError(t, CheckName(header))
		}
	}
	assert.True(t, WellKnown().Has("x_edge_auth_assertion"))
}
