package wire

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkDecode reads a session of about 2 KB in each format.
func BenchmarkDecode(b *testing.B) {
	all := reals(b)
	for _, r := range all {
		if r.Name == "marshal: a large one" { // the same in the formats of Go
			session, err := decoderNamed(r.Decoder)(r.Value)
			require.NoError(b, err)
			all = append(all, real{"gob: a large one", "gob", gobbed(b, session), nil}, real{"json: a large one", "json", r.Want, nil})
		}
	}
	for _, r := range all {
		name, ok := strings.CutSuffix(r.Name, ": a large one")
		if !ok {
			continue
		}
		decode := decoderNamed(r.Decoder)
		b.Run(strings.ReplaceAll(name, " ", ""), func(b *testing.B) {
			b.SetBytes(int64(len(r.Value)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decode(r.Value); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
