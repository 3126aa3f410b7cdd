// Package backup writes the whole store into one stream and reads it back.
//
// A backup is what one transaction sees, so it is consistent while the service goes on. It holds the records of the
// store, in which secrets are sealed under the master key, and never the master key. Format, version 1:
//
//	"MEROAUTH-BACKUP\n"
//	header    one line of JSON: {"v":1,"created":<Unix seconds>,"program":"…","master":"…"}
//	records   01 · bucket · key · value, each preceded by its length in 4 bytes, big-endian
//	end       00 · number of records in 8 bytes, big-endian
//	sum       SHA-256 of all bytes before it
//	proof     HMAC-SHA256 of the sum, under a key derived from the master key
//
// master names the master key without revealing it. The sum finds damage; the proof finds changes by whoever can write
// the backup but does not hold the master key, such as one more administrator.
package backup

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/seal"
)

// What can be wrong with a backup; match with errors.Is.
var (
	ErrFormat      = errors.New("not a backup of mero-auth")
	ErrDamaged     = errors.New("the backup is damaged or cut off")
	ErrWrongMaster = errors.New("the backup was made with another master key")
	ErrForged      = errors.New("the backup was changed after it was made")
)

const (
	magic   = "MEROAUTH-BACKUP\n"
	version = 1
	purpose = "backup"

	maxHeader = 4 << 10
	maxValue  = 16 << 20

	recordTag = 1
	endTag    = 0
)

// Header is what a backup says of itself.
type Header struct {
	V       int    `json:"v"`
	Created int64  `json:"created"` // Unix seconds
	Program string `json:"program"`
	Master  string `json:"master"` // check value of the master key
}

// Source is what a backup is made of.
type Source struct {
	DB      kv.DB
	Master  *seal.Master
	Program string // name and version
	Now     time.Time
}

// Write writes a backup and returns the number of its records. It holds one record in memory.
func Write(ctx context.Context, w io.Writer, src Source) (records uint64, err error) {
	check, err := src.Master.Check(purpose)
	if err != nil {
		return 0, err
	}
	proof, err := src.Master.MAC(purpose)
	if err != nil {
		return 0, err
	}
	header, err := json.Marshal(Header{V: version, Created: src.Now.Unix(), Program: src.Program, Master: check})
	if err != nil {
		return 0, err
	}
	out := &writer{to: bufio.NewWriterSize(w, 64<<10), sum: sha256.New()}
	out.write([]byte(magic))
	out.write(append(header, '\n'))
	err = src.DB.View(ctx, func(tx kv.Tx) error {
		for _, bucket := range tx.Buckets() {
			for key, value := range tx.Scan(bucket, "") {
				out.record(bucket, key, value)
				if err := errors.Join(out.err, ctx.Err()); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("back up: %w", err)
	}
	out.write(binary.BigEndian.AppendUint64([]byte{endTag}, out.records))
	sum := out.sum.Sum(nil)
	proof.Write(sum)
	out.write(proof.Sum(sum))
	if err := errors.Join(out.err, out.to.Flush()); err != nil {
		return 0, fmt.Errorf("back up: %w", err)
	}
	return out.records, nil
}

// writer remembers the first error, so that the format is written down without interruption.
type writer struct {
	to      *bufio.Writer
	sum     hash.Hash
	records uint64
	err     error
}

func (w *writer) write(b []byte) {
	if w.err == nil {
		_, w.err = w.to.Write(b)
		w.sum.Write(b)
	}
}

func (w *writer) record(bucket, key string, value []byte) {
	if len(value) > maxValue {
		w.err = errors.Join(w.err, fmt.Errorf("record %s:%s is larger than %d bytes", bucket, key, maxValue))
		return
	}
	w.records++
	w.write([]byte{recordTag})
	for _, part := range [][]byte{[]byte(bucket), []byte(key), value} {
		w.write(binary.BigEndian.AppendUint32(nil, uint32(len(part)))) //nolint:gosec // checked above, or by kv
		w.write(part)
	}
}

// Reader reads a backup.
type Reader struct {
	Header Header

	from *bufio.Reader
	sum  hash.Hash
}

// Open reads the header. Errors wrap ErrFormat.
func Open(r io.Reader) (*Reader, error) {
	b := &Reader{from: bufio.NewReaderSize(r, 64<<10), sum: sha256.New()}
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(b.from, head); err != nil || string(head) != magic {
		return nil, errors.Join(ErrFormat, disk(err))
	}
	line, err := b.line()
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(line, &b.Header); err != nil {
		return nil, fmt.Errorf("%w: its header is no JSON", ErrFormat)
	}
	if b.Header.V != version {
		return nil, fmt.Errorf("%w: it has version %d, this program knows %d", ErrFormat, b.Header.V, version)
	}
	b.sum.Write(head)
	b.sum.Write(line)
	return b, nil
}

// line reads the header with its line feed.
func (b *Reader) line() ([]byte, error) {
	var line []byte
	for len(line) < maxHeader {
		c, err := b.from.ReadByte()
		if err != nil {
			return nil, cut(err)
		}
		if line = append(line, c); c == '\n' {
			return line, nil
		}
	}
	return nil, fmt.Errorf("%w: its header has no end", ErrFormat)
}

// disk returns trouble of the medium, nil for an early end.
func disk(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

func cut(err error) error {
	if disk(err) == nil {
		return fmt.Errorf("%w: it ends early", ErrDamaged)
	}
	return err
}

// Made reports whether the backup was made with this master key.
func (b *Reader) Made(m *seal.Master) (bool, error) {
	check, err := m.Check(purpose)
	return err == nil && hmac.Equal([]byte(check), []byte(b.Header.Master)), err
}

// Records hands every record to put and then verifies the whole: what put got counts only when Records returns nil.
// With a master key it also proves that the backup was made with it and is unchanged; nil skips that.
// The errors are ErrDamaged, ErrWrongMaster, ErrForged and those of put.
func (b *Reader) Records(m *seal.Master, put func(bucket, key string, value []byte) error) (records uint64, err error) {
	if m != nil {
		if made, err := b.Made(m); err != nil || !made {
			return 0, errors.Join(ErrWrongMaster, err)
		}
	}
	for {
		tag, err := b.part(1)
		switch {
		case err != nil:
			return 0, err
		case tag[0] == endTag:
			return records, b.finish(m, records)
		case tag[0] != recordTag:
			return 0, fmt.Errorf("%w: record %d has an unknown mark", ErrDamaged, records+1)
		}
		records++
		bucket, err1 := b.field(kv.MaxKeySize)
		key, err2 := b.field(kv.MaxKeySize)
		value, err3 := b.field(maxValue)
		if err := errors.Join(err1, err2, err3); err != nil {
			return 0, fmt.Errorf("record %d: %w", records, err)
		}
		if err := put(string(bucket), string(key), value); err != nil {
			return 0, err
		}
	}
}

// field reads a length and as many bytes. Memory grows with what is there, not with what the length claims.
func (b *Reader) field(limit uint32) ([]byte, error) {
	size, err := b.part(4)
	if err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size)
	if n > limit {
		return nil, fmt.Errorf("%w: a length of %d bytes", ErrDamaged, n)
	}
	return b.part(int64(n))
}

// part reads n bytes and adds them to the sum.
func (b *Reader) part(n int64) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(b.from, n))
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) < n {
		return nil, cut(io.EOF)
	}
	b.sum.Write(raw)
	return raw, nil
}

func (b *Reader) finish(m *seal.Master, records uint64) error {
	count, err := b.part(8)
	if err != nil {
		return err
	}
	sum := b.sum.Sum(nil)
	trailer := make([]byte, 2*sha256.Size)
	if _, err := io.ReadFull(b.from, trailer); err != nil {
		return cut(err)
	}
	if binary.BigEndian.Uint64(count) != records || !hmac.Equal(trailer[:sha256.Size], sum) {
		return fmt.Errorf("%w: its checksum is another", ErrDamaged)
	}
	if _, err := b.from.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows its end", ErrDamaged)
	}
	if m == nil {
		return nil
	}
	proof, err := m.MAC(purpose)
	if err != nil {
		return err
	}
	proof.Write(sum)
	if !hmac.Equal(trailer[sha256.Size:], proof.Sum(nil)) {
		return ErrForged
	}
	return nil
}
