package wire

import (
	"encoding/hex"
	"encoding/json"
	"math"
	"math/big"
	"slices"
	"strconv"
)

// integer gives a whole number that may be large.
func integer(n *big.Int) any {
	if n.IsInt64() {
		return n.Int64()
	}
	return json.Number(n.String())
}

// twosComplement reads a little-endian number that may be negative.
func twosComplement(data []byte) (any, error) {
	if len(data) > maxInt {
		return nil, errInteger
	}
	bigEndian := slices.Clone(data)
	slices.Reverse(bigEndian)
	n := new(big.Int).SetBytes(bigEndian)
	if len(bigEndian) > 0 && bigEndian[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(bigEndian))))
	}
	return integer(n), nil
}

// unsigned gives a whole number that may be beyond int64.
func unsigned(n uint64) any {
	if n>>63 == 0 {
		return int64(n)
	}
	return integer(new(big.Int).SetUint64(n))
}

// keyText is the name of a key.
func keyText(key any) (string, bool) {
	switch k := key.(type) {
	case string:
		return k, true
	case int64:
		return strconv.FormatInt(k, 10), true
	}
	return "", false
}

// byIndex is a list as a map.
func byIndex(list []any) map[string]any {
	object := make(map[string]any, len(list))
	for i, value := range list {
		object[strconv.Itoa(i)] = value
	}
	return object
}

// float is Opaque for what JSON can't say, and thus no placeholder.
func float(f float64) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Opaque{}
	}
	return f
}

func parseFloat(text string) (any, error) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, errNumber
	}
	return float(f), nil
}

// uuid writes 16 bytes as RFC 9562 does.
func uuid(data string) string {
	digits := hex.EncodeToString([]byte(data))
	return digits[:8] + "-" + digits[8:12] + "-" + digits[12:16] + "-" + digits[16:20] + "-" + digits[20:]
}

// widths are the sizes in bytes of lengths that come in three.
var widths = [3]uint64{1, 2, 4}
