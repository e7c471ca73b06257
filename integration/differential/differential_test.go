// Package differential asks an independent implementation about each of very many
// credentials, good and spoiled, and compares its answer with ours. Whom we let in,
// it must let in as the same user. Where we refuse what it takes, a table names the
// reason, which is recognised without our own code; anything else fails.
//
// DIFFERENTIAL_CASES is how many there are (100000; half of them JWTs),
// DIFFERENTIAL_SEED what they are made from (1; all but the RSA keys and the time).
package differential

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// setting is a number from the environment.
func setting(t *testing.T, name string, usual uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	number, err := strconv.ParseUint(text, 10, 64)
	require.NoError(t, err, name)
	return number
}

// share is one part in so many of all cases.
func share(t *testing.T, parts uint64) uint64 {
	t.Helper()
	return setting(t, "DIFFERENTIAL_CASES", 100_000) / parts
}

// answer is what an implementation says: who it is, nil for nobody.
type answer struct {
	Who *string `json:"who"`
	Why string  `json:"why"`
}

func (a answer) String() string {
	if a.Who == nil {
		return "nobody (" + a.Why + ")"
	}
	return strconv.Quote(*a.Who)
}

// somebody is the answer with who in it.
func somebody(who string) answer { return answer{Who: &who} }

// nobody is the answer for an error.
func nobody(err error) answer { return answer{Why: err.Error()} }

// oracle is a process that answers questions.
type oracle struct {
	in  io.WriteCloser
	out *bufio.Scanner
}

func startOracle(t *testing.T, name string, args ...string) *oracle {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	scanner := bufio.NewScanner(out)
	scanner.Buffer(nil, 1<<20)
	return &oracle{in, scanner}
}

// startPython runs oracle.py. Debian's Python has the packages that ./test.sh
// installs; another Python in PATH would not.
func startPython(t *testing.T, kind string, config any) *oracle {
	t.Helper()
	text, err := json.Marshal(config)
	require.NoError(t, err)
	return startOracle(t, "/usr/bin/python3", "oracle.py", kind, string(text))
}

// ask asks all questions at once, and returns the answers in their order.
func (o *oracle) ask(t *testing.T, questions []any) []answer {
	t.Helper()
	written := make(chan error, 1)
	go func() {
		w := bufio.NewWriter(o.in)
		encoder := json.NewEncoder(w)
		for _, q := range questions {
			if err := encoder.Encode(q); err != nil {
				written <- err
				return
			}
		}
		written <- w.Flush()
	}()
	answers := make([]answer, len(questions))
	for i := range answers {
		require.True(t, o.out.Scan(), "the oracle ended: %v", o.out.Err())
		require.NoError(t, json.Unmarshal(o.out.Bytes(), &answers[i]))
	}
	require.NoError(t, <-written)
	return answers
}

// reason is why we refuse what another implementation takes.
type reason[C any] struct {
	name string
	is   func(c C) bool
}

// trial compares two implementations, over cases of one type.
type trial[C any] struct {
	name    string
	cases   uint64
	make    func(random *rand.Rand) C
	ours    func(c C) answer
	theirs  *oracle
	ask     func(c C) any
	reasons []reason[C]

	// looser are the reasons why we take what they don't, for which there must be
	// good ones.
	looser []reason[C]

	// alike compares who; nil: the names are the same.
	alike func(ours, theirs string) bool
}

// latin1 is bytes as the oracle expects them.
func latin1(text string) string {
	runes := make([]rune, len(text))
	for i := range len(text) {
		runes[i] = rune(text[i])
	}
	return string(runes)
}

const (
	batch     = 1000
	bothTake  = "both: the same user"
	bothLeave = "both: nobody"
)

func (tr trial[C]) run(t *testing.T) {
	t.Helper()
	seed := setting(t, "DIFFERENTIAL_SEED", 1)
	random := rand.New(rand.NewPCG(seed, uint64(len(tr.name))))
	tally := make(map[string]int)
	began := time.Now()
	unexplained := 0
	for done := uint64(0); done < tr.cases && unexplained < 20; done += batch {
		cases := make([]C, min(batch, tr.cases-done))
		questions := make([]any, len(cases))
		for i := range cases {
			cases[i] = tr.make(random)
			questions[i] = tr.ask(cases[i])
		}
		// Both work at once.
		ours := make(chan []answer, 1)
		go func() {
			answers := make([]answer, len(cases))
			for i, c := range cases {
				answers[i] = tr.ours(c)
			}
			ours <- answers
		}()
		theirs := tr.theirs.ask(t, questions)
		for i, our := range <-ours {
			class := tr.class(cases[i], our, theirs[i])
			if class == "" {
				unexplained++
				question, err := json.Marshal(questions[i])
				require.NoError(t, err)
				assert.Fail(t, "a disagreement that nothing explains", "%s\nours: %s\ntheirs: %s", question, our, theirs[i])
			}
			tally[class]++
		}
	}
	t.Logf("%s: seed %d, %d cases in %v", tr.name, seed, tr.cases, time.Since(began).Round(time.Millisecond))
	for _, class := range slices.Sorted(maps.Keys(tally)) {
		t.Logf("%7d %s", tally[class], class)
	}
	if os.Getenv("DIFFERENTIAL_CASES") != "" || os.Getenv("DIFFERENTIAL_SEED") != "" {
		return
	}
	assert.Greater(t, tally[bothTake], int(tr.cases/20), "good ones among them")     //nolint:gosec // small
	assert.Greater(t, tally[bothLeave], int(tr.cases/20), "spoiled ones among them") //nolint:gosec // small
	for _, r := range slices.Concat(tr.reasons, tr.looser) {
		assert.NotZero(t, tally[r.name], "no case for the reason '%s'", r.name)
	}
}

// class says how two answers go together; empty: they must not.
func (tr trial[C]) class(c C, ours, theirs answer) string {
	reasons := tr.reasons
	switch {
	case ours.Who == nil && theirs.Who == nil:
		return bothLeave
	case ours.Who != nil && theirs.Who != nil:
		if *ours.Who == *theirs.Who || tr.alike != nil && tr.alike(*ours.Who, *theirs.Who) {
			return bothTake
		}
		return "" // two users: there is no reason for that
	case ours.Who != nil:
		reasons = tr.looser
	}
	for _, r := range reasons {
		if r.is(c) {
			return r.name
		}
	}
	return ""
}

// of returns one of several.
func of[T any](random *rand.Rand, choices ...T) T { return choices[random.IntN(len(choices))] }

// splice is the beginning of one text and the end of another.
func splice(random *rand.Rand, one, two string) string {
	return one[:random.IntN(len(one)+1)] + two[random.IntN(len(two)+1):]
}

// spoil changes a text a little.
func spoil(random *rand.Rand, text string) string {
	if text == "" {
		return "a"
	}
	data := []byte(text)
	at := random.IntN(len(data))
	switch random.IntN(5) {
	case 0: // a bit
		data[at] ^= 1 << random.IntN(8)
	case 1: // a byte
		data[at] = byte(random.IntN(256))
	case 2: // one less
		data = slices.Delete(data, at, at+1)
	case 3: // one more
		data = slices.Insert(data, at, of(random, []byte("=.-_+/ \t\r\n\x00\";:%,\\\xa0\xff1a")...))
	case 4: // the end
		data = data[:at]
	}
	return string(data)
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(fmt.Sprint(err))
	}
	return value
}
