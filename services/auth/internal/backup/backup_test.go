package backup_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/backup"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
	"github.com/calimero-network/mero-go/services/auth/internal/seal"
)

var made = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func master(t testing.TB, b byte) *seal.Master {
	t.Helper()
	raw := make([]byte, seal.KeySize)
	for i := range raw {
		raw[i] = b + byte(i*i*7)
	}
	m, err := seal.OpenMaster(seal.Source{Text: base64.StdEncoding.EncodeToString(raw)})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func store(t testing.TB, records map[[2]string]string) kv.DB {
	t.Helper()
	db := memory.New()
	err := db.Update(t.Context(), func(tx kv.Tx) error {
		for k, v := range records {
			if err := tx.Put(k[0], k[1], []byte(v)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

var records = map[[2]string]string{
	{"root", "a"}: `{"v":1}`, {"root", "b"}: "", {"system", "secrets:access"}: strings.Repeat("x", 100_000),
	{"b\x00", "k\xff"}: "\x00\x01", {"family", "f"}: "MEROAUTH-BACKUP\n",
}

func write(t testing.TB, db kv.DB) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, err := backup.Write(t.Context(), &out, backup.Source{DB: db, Master: master(t, 1), Program: "test 1", Now: made}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// read returns the records of a backup, verified with a master key or without one.
func read(text []byte, m *seal.Master) (map[[2]string]string, error) {
	r, err := backup.Open(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	got := map[[2]string]string{}
	n, err := r.Records(m, func(bucket, key string, value []byte) error {
		got[[2]string{bucket, key}] = string(value)
		return nil
	})
	if err == nil && n != uint64(len(got)) {
		err = fmt.Errorf("%d records are counted and %d are there", n, len(got))
	}
	return got, err
}

func TestRoundTrip(t *testing.T) {
	text := write(t, store(t, records))
	for _, m := range []*seal.Master{nil, master(t, 1)} {
		got, err := read(text, m)
		if err != nil || !maps.Equal(got, records) {
			t.Errorf("got %d records, %v", len(got), err)
		}
	}
	r, err := backup.Open(bytes.NewReader(text))
	if err != nil || r.Header.Created != made.Unix() || r.Header.Program != "test 1" {
		t.Errorf("header %+v, %v", r.Header, err)
	}
	if got, err := read(write(t, memory.New()), master(t, 1)); err != nil || len(got) > 0 {
		t.Errorf("an empty store: %v, %v", got, err)
	}
}

func TestRecords_WrongMaster(t *testing.T) {
	text := write(t, store(t, records))
	if got, err := read(text, master(t, 2)); !errors.Is(err, backup.ErrWrongMaster) || len(got) > 0 {
		t.Errorf("%d records, %v, want ErrWrongMaster and none", len(got), err)
	}
}

// TestRecords_EveryByteCounts flips each byte, and cuts behind each.
func TestRecords_EveryByteCounts(t *testing.T) {
	text := write(t, store(t, map[[2]string]string{{"root", "a"}: "1", {"root", "b"}: "22", {"system", "x"}: "333"}))
	for i := range text {
		for _, flip := range []byte{1, 0x80, 0xff} {
			changed := bytes.Clone(text)
			changed[i] ^= flip
			if _, err := read(changed, master(t, 1)); err == nil {
				t.Errorf("byte %d changed by %x: no error", i, flip)
			}
			if _, err := read(changed, nil); err == nil && i < len(text)-32 { // the last 32 are the proof
				t.Errorf("byte %d changed by %x: no error without a master key", i, flip)
			}
		}
		if _, err := read(text[:i], nil); !errors.Is(err, backup.ErrFormat) && !errors.Is(err, backup.ErrDamaged) {
			t.Errorf("the first %d bytes: %v", i, err)
		}
	}
	for _, more := range [][]byte{{0}, text} {
		if _, err := read(append(bytes.Clone(text), more...), nil); !errors.Is(err, backup.ErrDamaged) {
			t.Errorf("%d bytes behind the end: %v, want ErrDamaged", len(more), err)
		}
	}
}

// TestRecords_AddedAdministratorIsNoticed: whoever can write the file makes a backup of his own with a good checksum,
// and takes over what he can of the real one. Only the proof needs the master key.
func TestRecords_AddedAdministratorIsNoticed(t *testing.T) {
	real := write(t, store(t, records))
	db := store(t, records)
	if err := db.Update(t.Context(), func(tx kv.Tx) error { return tx.Put("root", "evil", []byte("{}")) }); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := backup.Write(t.Context(), &out, backup.Source{DB: db, Master: master(t, 66), Program: "test 1", Now: made}); err != nil {
		t.Fatal(err)
	}
	headerEnd := len("MEROAUTH-BACKUP\n") + bytes.IndexByte(real[len("MEROAUTH-BACKUP\n"):], '\n') + 1
	forged := append(bytes.Clone(real[:headerEnd]), out.Bytes()[headerEnd:]...)
	forged = resum(forged)
	if _, err := read(forged, nil); err != nil {
		t.Fatalf("the checksum is wrong, so the attack is not played: %v", err)
	}
	if _, err := read(forged, master(t, 1)); !errors.Is(err, backup.ErrForged) {
		t.Errorf("%v, want ErrForged", err)
	}
}

// resum gives a changed backup a right checksum, which needs no key.
func resum(text []byte) []byte {
	body := text[:len(text)-2*sha256.Size]
	sum := sha256.Sum256(body)
	copy(text[len(body):], sum[:])
	return text
}

func TestOpen_OtherFilesRefused(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "short": "MEROAUTH", "other": strings.Repeat("SQLite format 3\x00", 10), "no header": "MEROAUTH-BACKUP\n",
		"endless header": "MEROAUTH-BACKUP\n" + strings.Repeat("x", 10_000), "header no JSON": "MEROAUTH-BACKUP\nx\n",
		"newer": "MEROAUTH-BACKUP\n" + `{"v":2}` + "\n", "no version": "MEROAUTH-BACKUP\n{}\n",
	} {
		if _, err := backup.Open(strings.NewReader(text)); !errors.Is(err, backup.ErrFormat) && !errors.Is(err, backup.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

var errMedium = errors.New("the medium fails")

type failingWriter struct{ left int }

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, errMedium
	}
	return len(p), nil
}

func TestWrite_FailureIsReported(t *testing.T) {
	db := store(t, records)
	src := backup.Source{DB: db, Master: master(t, 1), Now: made}
	size := len(write(t, db))
	for left := 0; left < size; left += size / 10 {
		if _, err := backup.Write(t.Context(), &failingWriter{left: left - 20}, src); !errors.Is(err, errMedium) {
			t.Errorf("%d bytes of space: %v, want the failure", left, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := backup.Write(ctx, io.Discard, src); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Write(t.Context(), io.Discard, src); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("of a closed store: %v", err)
	}
}

// slowWriter lets somebody write to the store at each piece of the backup.
type slowWriter struct {
	bytes.Buffer
	meanwhile func()
}

func (w *slowWriter) Write(p []byte) (int, error) {
	w.meanwhile()
	return w.Buffer.Write(p)
}

// TestWrite_ConsistentWhileTheStoreChanges: two records that always change together are the same in the backup.
func TestWrite_ConsistentWhileTheStoreChanges(t *testing.T) {
	db := memory.New()
	set := func(n int) {
		err := db.Update(t.Context(), func(tx kv.Tx) error {
			value := fmt.Append(nil, n)
			return errors.Join(tx.Put("a", "first", value), tx.Put("b", "filler", make([]byte, 1<<20)), tx.Put("z", "last", value))
		})
		if err != nil {
			t.Error(err)
		}
	}
	set(0)
	n := 0
	out := &slowWriter{meanwhile: func() { n++; set(n) }}
	if _, err := backup.Write(t.Context(), out, backup.Source{DB: db, Master: master(t, 1), Now: made}); err != nil {
		t.Fatal(err)
	}
	got, err := read(out.Bytes(), master(t, 1))
	if err != nil || n < 2 || got[[2]string{"a", "first"}] != "0" || got[[2]string{"z", "last"}] != "0" {
		t.Errorf("after %d changes the backup holds %q and %q, %v", n, got[[2]string{"a", "first"}], got[[2]string{"z", "last"}], err)
	}
}

// TestReader_LengthBombs: a length that claims gigabytes is refused without memory for it.
func TestReader_LengthBombs(t *testing.T) {
	head := "MEROAUTH-BACKUP\n" + `{"v":1}` + "\n\x01"
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, bomb := range []string{
		"\xff\xff\xff\xff", "\x00\x00\x80\x01", "\x00\x00\x80\x00abc", "\x00\x00\x00\x01b\x7f\xff\xff\xff",
		"\x00\x00\x00\x01b\x00\x00\x00\x01k\xff\xff\xff\xff", "\x00\x00\x00\x01b\x00\x00\x00\x01k\x01\x00\x00\x00short",
	} {
		if _, err := read([]byte(head+bomb), nil); !errors.Is(err, backup.ErrDamaged) {
			t.Errorf("%q: %v, want ErrDamaged", bomb, err)
		}
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 4<<20 {
		t.Errorf("%d bytes were allocated", grown)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(write(f, store(f, map[[2]string]string{{"root", "a"}: "1"})))
	f.Add([]byte("MEROAUTH-BACKUP\n{\"v\":1}\n\x01\x00\x00\x00\x01b\x00\x00\x00\x01k\x00\x00\x00\x00"))
	f.Add([]byte("MEROAUTH-BACKUP\n{\"v\":1}\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	m := master(f, 1)
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := read(text, m)
		if err != nil {
			return
		}
		if again, err := read(write(t, store(t, got)), m); err != nil || !maps.Equal(again, got) {
			t.Errorf("%v written again reads as %v, %v", got, again, err)
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	all := map[[2]string]string{}
	for i := range 10_000 {
		all[[2]string{"family", strconv.Itoa(i)}] = strings.Repeat("x", 400)
	}
	src := backup.Source{DB: store(b, all), Master: master(b, 1), Now: made}
	b.SetBytes(10_000 * 410)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := backup.Write(b.Context(), io.Discard, src); err != nil {
			b.Fatal(err)
		}
	}
}
