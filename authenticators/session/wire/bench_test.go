package wire

import (
	"strings"
	"testing"
)

// BenchmarkDecode reads a session of about 2 KB in each format.
func BenchmarkDecode(b *testing.B) {
	for _, r := range reals(b) {
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
