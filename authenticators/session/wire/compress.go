package wire

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/edgeauth/caddy-edgeauth/store"
)

// decompress undoes the compression that the first bytes tell, up to the size
// that any session may have. What is not compressed stays as it is, and so does
// what was compressed twice after the first time.
func decompress(value []byte) ([]byte, error) {
	var data []byte
	var err error
	switch {
	case isZlib(value):
		data, err = unzlib(value)
	case bytes.HasPrefix(value, []byte("\x1f\x8b")): // RFC 1952, section 2.3.1
		data, err = gunzip(value)
	case bytes.HasPrefix(value, []byte("\x28\xb5\x2f\xfd")): // RFC 8878, section 3.1.1
		data, err = unzstd(value)
	case bytes.HasPrefix(value, []byte("\x04\x22\x4d\x18")): // LZ4's frame format
		data, err = unlz4(value)
	case bytes.HasPrefix(value, []byte("\xfd7zXZ\x00")):
		return nil, errors.New("compressed by lzma, which is not read; zlib, gzip, zstd and lz4 are")
	default:
		return value, nil
	}
	if err != nil {
		return nil, fmt.Errorf("decompressing: %w", err)
	}
	return data, nil
}

// isZlib reports whether value begins as RFC 1950, section 2.2, demands.
func isZlib(value []byte) bool {
	return len(value) > 1 && value[0] == 0x78 && (uint(value[0])<<8|uint(value[1]))%31 == 0
}

// zlibReaders are kept, since each has a window of 32 KiB.
var zlibReaders sync.Pool

func unzlib(value []byte) ([]byte, error) {
	from := bytes.NewReader(value)
	r, ok := zlibReaders.Get().(io.ReadCloser)
	var err error
	if !ok {
		r, err = zlib.NewReader(from)
	} else {
		err = r.(zlib.Resetter).Reset(from, nil) //nolint:errcheck,forcetypeassert // zlib says so
	}
	if err != nil {
		return nil, err
	}
	data, err := readAll(r, from)
	if err == nil {
		zlibReaders.Put(r)
	}
	return data, err
}

func gunzip(value []byte) ([]byte, error) {
	from := bytes.NewReader(value)
	r, err := gzip.NewReader(from)
	if err != nil {
		return nil, err
	}
	r.Multistream(false)
	return readAll(r, from)
}

// unlz4 refuses blocks of more than 256 KiB, for which memory would be taken
// beforehand: the second byte of the frame's descriptor says so.
func unlz4(value []byte) ([]byte, error) {
	const largest = 5
	if len(value) < 6 || value[5]>>4 > largest {
		return nil, errors.New("lz4: its blocks are larger than any session")
	}
	from := bytes.NewReader(value)
	return readAll(lz4.NewReader(from), from)
}

// zstdReader is made at its first use. It is safe for concurrent use, and has no
// goroutines as long as only DecodeAll is called.
var zstdReader = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(store.MaxValue))
})

func unzstd(value []byte) ([]byte, error) {
	r, err := zstdReader()
	if err != nil {
		return nil, err
	}
	return r.DecodeAll(value, nil)
}

// readAll reads what r makes of all that is left in from.
func readAll(r io.Reader, from *bytes.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, store.MaxValue+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > store.MaxValue:
		return nil, store.ErrTooLarge
	case from.Len() > 0:
		return nil, errMore
	}
	return data, nil
}
