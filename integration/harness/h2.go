package harness

import (
	"bytes"
	"fmt"
	"io"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

func askH2(address, host string, r Request) (Answer, error) {
	conn, err := dialTLS(address, "h2")
	if err != nil {
		return Answer{}, err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return Answer{}, err
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := framer.WriteSettings(); err != nil {
		return Answer{}, err
	}
	if err := writeH2(framer, host, r); err != nil {
		return Answer{}, err
	}
	return readH2(framer)
}

const streamID = 1

// maxFrame is the size that a peer takes before it says more.
const maxFrame = 16384

func writeH2(framer *http2.Framer, host string, r Request) error {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	last := r.Body == "" && r.Trailers == nil
	if err := writeBlock(framer, encoder, &block, r.fields(host), last); err != nil {
		return err
	}
	for body := r.Body; body != ""; {
		n := min(len(body), maxFrame)
		if err := framer.WriteData(streamID, n == len(body) && r.Trailers == nil, []byte(body[:n])); err != nil {
			return err
		}
		body = body[n:]
	}
	if r.Trailers == nil {
		return nil
	}
	return writeBlock(framer, encoder, &block, r.fieldsOf(r.Trailers), true)
}

// writeBlock writes a header block, in as many frames as it takes.
func writeBlock(framer *http2.Framer, encoder *hpack.Encoder, block *bytes.Buffer, fields []field, endStream bool) error {
	block.Reset()
	for _, f := range fields {
		if err := encoder.WriteField(hpack.HeaderField{Name: f.name, Value: f.value}); err != nil {
			return err
		}
	}
	part := block.Next(maxFrame)
	err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: streamID, BlockFragment: part, EndStream: endStream, EndHeaders: block.Len() == 0})
	for err == nil && block.Len() > 0 {
		part = block.Next(maxFrame)
		err = framer.WriteContinuation(streamID, block.Len() == 0, part)
	}
	return err
}

func readH2(framer *http2.Framer) (Answer, error) {
	var h heard
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return h.Answer, err
		}
		ended := false
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				err = framer.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			for _, one := range f.Fields {
				h.field(one.Name, one.Value)
			}
			ended = f.StreamEnded()
		case *http2.DataFrame:
			h.Body += string(f.Data())
			ended = f.StreamEnded()
			if n := uint32(len(f.Data())); n > 0 && !ended {
				err = framer.WriteWindowUpdate(0, n)
				_ = framer.WriteWindowUpdate(streamID, n)
			}
		case *http2.RSTStreamFrame:
			if f.ErrCode == http2.ErrCodeNo && h.final() {
				return h.Answer, nil // all that it wanted to say
			}
			return h.Answer, fmt.Errorf("stream ended: %v", f.ErrCode)
		case *http2.GoAwayFrame:
			if f.ErrCode != http2.ErrCodeNo {
				return h.Answer, fmt.Errorf("connection ended: %v", f.ErrCode)
			}
		}
		if err != nil {
			return h.Answer, err
		}
		if ended && h.final() {
			return h.Answer, nil
		}
	}
}
