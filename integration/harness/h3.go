package harness

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
)

// Frames and streams of HTTP/3 (RFC 9114, sections 6.2 and 7.2).
const (
	h3Data     = 0x0
	h3Headers  = 0x1
	h3Settings = 0x4
	h3Control  = 0x0
)

func askH3(address, host string, r Request) (Answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := quic.DialAddr(ctx, address, clientTLS("h3"), nil)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = conn.CloseWithError(0x100, "") }() // H3_NO_ERROR
	return exchange(ctx, conn, host, r, nil)
}

// exchange sends a request and calls sent, unless it is nil, before it reads the answer.
func exchange(ctx context.Context, conn *quic.Conn, host string, r Request, sent func()) (Answer, error) {
	control, err := conn.OpenUniStream()
	if err != nil {
		return Answer{}, err
	}
	if _, err := control.Write([]byte{h3Control, h3Settings, 0}); err != nil {
		return Answer{}, err
	}
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return Answer{}, err
	}
	if err := stream.SetDeadline(time.Now().Add(patience)); err != nil {
		return Answer{}, err
	}
	payload, err := h3Bytes(host, r)
	if err != nil {
		return Answer{}, err
	}
	// A server that has read enough answers before all is written.
	go func() {
		_, _ = stream.Write(payload)
		_ = stream.Close()
	}()
	if sent != nil {
		sent()
	}
	return readH3(bufio.NewReader(stream))
}

// h3Bytes are the frames of a request.
func h3Bytes(host string, r Request) ([]byte, error) {
	head, err := h3Block(r.fields(host))
	if err != nil {
		return nil, err
	}
	frames := h3Frame(nil, h3Headers, head)
	if r.Body != "" {
		frames = h3Frame(frames, h3Data, []byte(r.Body))
	}
	if r.Trailers != nil {
		tail, err := h3Block(r.fieldsOf(r.Trailers))
		if err != nil {
			return nil, err
		}
		frames = h3Frame(frames, h3Headers, tail)
	}
	return frames, nil
}

func h3Block(fields []field) ([]byte, error) {
	var block bytes.Buffer
	encoder := qpack.NewEncoder(&block)
	for _, f := range fields {
		if err := encoder.WriteField(qpack.HeaderField{Name: f.name, Value: f.value}); err != nil {
			return nil, err
		}
	}
	return block.Bytes(), encoder.Close()
}

func h3Frame(to []byte, kind uint64, payload []byte) []byte {
	to = quicvarint.Append(to, kind)
	to = quicvarint.Append(to, uint64(len(payload)))
	return append(to, payload...)
}

func readH3(in *bufio.Reader) (Answer, error) {
	var h heard
	for {
		kind, err := quicvarint.Read(in)
		if errors.Is(err, io.EOF) {
			if !h.final() {
				return h.Answer, errNoStatus
			}
			return h.Answer, nil
		}
		if err != nil {
			var reset *quic.StreamError
			if errors.As(err, &reset) && reset.ErrorCode == 0x100 && h.final() {
				return h.Answer, nil // all that it wanted to say
			}
			return h.Answer, fmt.Errorf("stream ended: %w", err)
		}
		size, err := quicvarint.Read(in)
		if err != nil {
			return h.Answer, err
		}
		payload := make([]byte, size)
		if _, err := io.ReadFull(in, payload); err != nil {
			return h.Answer, err
		}
		switch kind {
		case h3Headers:
			next := qpack.NewDecoder().Decode(payload)
			for {
				f, err := next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					return h.Answer, err
				}
				h.field(f.Name, f.Value)
			}
		case h3Data:
			h.Body += string(payload)
		}
	}
}
