package blob_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/blob"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// fixture is a blob store in a directory of its own.
type fixture struct {
	*blob.Store
	db  *store.Store
	dir string
}

func open(t testing.TB, dir string, maxSize int64) *fixture {
	t.Helper()
	db, err := store.Open(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() }) // a test that reopens has closed it
	s, err := blob.Open(t.Context(), filepath.Join(dir, "blobs"), db, maxSize, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{s, db, dir}
}

// reopen is what a restart of the process does.
func (f *fixture) reopen(t testing.TB) *fixture {
	t.Helper()
	if err := f.db.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, f.dir, 0)
}

func (f *fixture) put(t testing.TB, content []byte) blob.Info {
	t.Helper()
	info, err := f.Put(t.Context(), bytes.NewReader(content), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func (f *fixture) read(t testing.TB, blobID id.ID) ([]byte, error) {
	t.Helper()
	r, err := f.Open(t.Context(), blobID)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return io.ReadAll(r)
}

// files returns the names of all files below the blob directory.
func (f *fixture) files(t testing.TB) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(filepath.Join(f.dir, "blobs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, d.Name())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// random returns n bytes that differ for every seed.
func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = src.Read(b) // never fails
	return b
}

// wantID computes the id as the contract defines it.
func wantID(content []byte) id.ID {
	var ids []byte
	for len(content) > 0 {
		n := min(len(content), 1<<20)
		sum := sha256.Sum256(content[:n])
		ids = append(ids, sum[:]...)
		content = content[n:]
	}
	return sha256.Sum256(ids)
}

func TestPut_IDsAndContent(t *testing.T) {
	f := open(t, t.TempDir(), 0)
	total := int64(0)
	for i, n := range []int{0, 1, 8, blob.ChunkSize - 1, blob.ChunkSize, blob.ChunkSize + 1, 3 * blob.ChunkSize, 3*blob.ChunkSize + 17} {
		content := random(uint64(i), n)
		info, err := f.Put(t.Context(), iotest.HalfReader(bytes.NewReader(content)), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := blob.Info{ID: wantID(content), Size: int64(n), Hash: sha256.Sum256(content), MIME: info.MIME}
		if info != want {
			t.Errorf("%d bytes: Put = %+v, want %+v", n, info, want)
		}
		if got, err := f.read(t, info.ID); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes: read %d bytes back, %v", n, len(got), err)
		}
		if got, err := f.Info(t.Context(), info.ID); err != nil || got != want {
			t.Errorf("%d bytes: Info = %+v, %v, want %+v", n, got, err, want)
		}
		total += int64(n)
	}
	all, err := f.List(t.Context())
	if err != nil || len(all) != 8 {
		t.Errorf("List has %d entries, %v, want 8: chunks are no blobs", len(all), err)
	}
	if err := f.db.View(t.Context(), func(tx *store.Tx) error {
		if got, err := tx.BlobTotal(); err != nil || got != (store.BlobTotal{Count: 8, Bytes: total}) {
			t.Errorf("BlobTotal = %+v, %v", got, err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func TestPut_KnownIDs(t *testing.T) {
	f := open(t, t.TempDir(), 0)
	for content, want := range map[string]string{
		"":         "GKot5hBsd81kMupNCXHaqbhv3huEbxAFMLnpcX2hniwn", // SHA-256 of nothing
		"12345678": id.ID(sha256.Sum256(sum("12345678"))).String(),
	} {
		if got := f.put(t, []byte(content)).ID.String(); got != want {
			t.Errorf("id of %q = %s, want %s", content, got, want)
		}
	}
}

func sum(s string) []byte { b := sha256.Sum256([]byte(s)); return b[:] }

func TestPut_SniffsTheType(t *testing.T) {
	f := open(t, t.TempDir(), 0)
	for content, want := range map[string]string{
		"\x89PNG\x0d\x0a\x1a\x0a": "image/png", "{}": "text/plain; charset=utf-8", "\x00asm\x01\x00\x00\x00": "application/wasm",
	} {
		if got := f.put(t, []byte(content)).MIME; got != want {
			t.Errorf("type of %q = %q, want %q", content, got, want)
		}
	}
}

func TestPut_SameContentTwiceIsOneBlob(t *testing.T) {
	f := open(t, t.TempDir(), 0)
	content := random(1, 2*blob.ChunkSize)
	if a, b := f.put(t, content), f.put(t, content); a != b {
		t.Errorf("%+v and %+v", a, b)
	}
	if got := len(f.files(t)); got != 2 {
		t.Errorf("%d files, want 2", got)
	}
	if err := f.Delete(t.Context(), wantID(content)); err != nil {
		t.Error(err)
	}
	if got := f.files(t); len(got) > 0 {
		t.Errorf("one deletion leaves %v", got)
	}
}

func TestPut_FailureLeavesNothing(t *testing.T) {
	wrong := id.ID{1}
	content := random(1, 3*blob.ChunkSize)
	truncated := io.MultiReader(bytes.NewReader(content[:blob.ChunkSize+5]), iotest.ErrReader(io.ErrUnexpectedEOF))
	cancelled, cancel := context.WithCancel(t.Context())
	for _, tt := range []struct {
		name    string
		maxSize int64
		ctx     context.Context
		r       io.Reader
		want    *id.ID
		fail    error // of the second write
		err     error
	}{
		{"wrong hash", 0, t.Context(), bytes.NewReader(content), &wrong, nil, blob.ErrMismatch},
		{"too large", 3*blob.ChunkSize - 1, t.Context(), bytes.NewReader(content), nil, nil, blob.ErrTooLarge},
		{"client leaves", 0, t.Context(), truncated, nil, nil, io.ErrUnexpectedEOF},
		{"cancelled", 0, cancelled, io.MultiReader(bytes.NewReader(content[:blob.ChunkSize]), cancelReader(cancel), bytes.NewReader(content)), nil, nil, context.Canceled},
		{"disk full", 0, t.Context(), bytes.NewReader(content), nil, &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, blob.ErrNoSpace},
		{"quota", 0, t.Context(), bytes.NewReader(content), nil, syscall.EDQUOT, blob.ErrNoSpace},
	} {
		f := open(t, t.TempDir(), tt.maxSize)
		if tt.fail != nil {
			var writes atomic.Int32
			f.OnWrite(func(string) error {
				if writes.Add(1) == 2 {
					return tt.fail
				}
				return nil
			})
		}
		if _, err := f.Put(tt.ctx, tt.r, tt.want, nil); !errors.Is(err, tt.err) {
			t.Errorf("%s: Put = %v, want %v", tt.name, err, tt.err)
		}
		if got := f.files(t); len(got) > 0 {
			t.Errorf("%s: left behind: %v", tt.name, got)
		}
		if got, err := f.List(t.Context()); err != nil || len(got) > 0 {
			t.Errorf("%s: listed: %v, %v", tt.name, got, err)
		}
	}
}

// cancelReader cancels when it is read and is empty.
type cancelReader context.CancelFunc

func (c cancelReader) Read([]byte) (int, error) { c(); return 0, io.EOF }

func TestPut_FailureWhileMovingTakesTheChunksBack(t *testing.T) {
	f := open(t, t.TempDir(), 0)
	content := random(2, 2*blob.ChunkSize)
	// A directory where the second chunk belongs: the first has moved by then.
	if err := os.MkdirAll(filepath.Join(f.ChunkPath(sha256.Sum256(content[blob.ChunkSize:])), "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Put(t.Context(), bytes.NewReader(content), nil, nil); err == nil {
		t.Fatal("Put succeeded")
	}
	if got := f.files(t); len(got) > 0 {
		t.Errorf("left behind: %v", got)
	}
}

func TestPut_UncertainIndexIsSettledAtTheNextStart(t *testing.T) {
	f := open(t, t.TempDir(), 0)
	f.OnWrite(func(path string) error {
		if filepath.Base(path) == "chunks" { // the last write before the index: from now on it fails
			return f.db.Close()
		}
		return nil
	})
	content := random(1, 100)
	if _, err := f.Put(t.Context(), bytes.NewReader(content), nil, nil); err == nil {
		t.Fatal("Put succeeded without an index")
	}
	if got := f.files(t); len(got) != 2 {
		t.Errorf("files before the restart: %v, want the chunk and the list", got)
	}
	f = f.reopen(t)
	if got := f.files(t); len(got) > 0 {
		t.Errorf("files after the restart: %v", got)
	}
	if _, err := f.Info(t.Context(), wantID(content)); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Info = %v, want ErrNotFound", err)
	}
}

func TestPut_RestoresALostFile(t *testing.T) {
	f := open(t, t.TempDir(), 0)
	content := random(1, 10)
	info := f.put(t, content)
	if err := os.Remove(f.ChunkPath(sha256.Sum256(content))); err != nil {
		t.Fatal(err)
	}
	if _, err := f.read(t, info.ID); !errors.Is(err, blob.ErrCorrupt) {
		t.Errorf("read without the file: %v, want ErrCorrupt", err)
	}
	f.put(t, content)
	if got, err := f.read(t, info.ID); err != nil || !bytes.Equal(got, content) {
		t.Errorf("after storing it again: %d bytes, %v", len(got), err)
	}
}

func TestDelete_SharedChunkStaysReadable(t *testing.T) {
	f := open(t, t.TempDir(), 0)
	shared, a, b := random(1, blob.ChunkSize), random(2, 100), random(3, 100)
	first, second := f.put(t, append(bytes.Clone(shared), a...)), f.put(t, append(bytes.Clone(shared), b...))
	alone := f.put(t, shared) // a blob of only the shared chunk
	for _, gone := range []id.ID{first.ID, alone.ID} {
		if err := f.Delete(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
		if _, err := f.read(t, gone); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("deleted blob: %v, want ErrNotFound", err)
		}
	}
	if got, err := f.read(t, second.ID); err != nil || !bytes.Equal(got, append(bytes.Clone(shared), b...)) {
		t.Errorf("the other blob: %d bytes, %v", len(got), err)
	}
	if err := f.Delete(t.Context(), second.ID); err != nil {
		t.Fatal(err)
	}
	if got := f.files(t); len(got) > 0 {
		t.Errorf("left behind: %v", got)
	}
	if err := f.Delete(t.Context(), second.ID); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("deleted twice: %v, want ErrNotFound", err)
	}
}

func TestDelete_RefusesABlobInUse(t *testing.T) {
	f := open(t, t.TempDir(), 0)
	info := f.put(t, []byte("app"))
	if err := f.db.Update(t.Context(), func(tx *store.Tx) error { return tx.UseBlob(info.ID, 1) }); err != nil {
		t.Fatal(err)
	}
	if err := f.Delete(t.Context(), info.ID); !errors.Is(err, blob.ErrInUse) {
		t.Errorf("got %v, want ErrInUse", err)
	}
	if got, err := f.read(t, info.ID); err != nil || string(got) != "app" {
		t.Errorf("afterwards: %q, %v", got, err)
	}
}

func TestDelete_ReaderGoesOnToTheEnd(t *testing.T) {
	f := open(t, t.TempDir(), 0)
	content := random(1, 3*blob.ChunkSize)
	info := f.put(t, content)
	one, err := f.Open(t.Context(), info.ID)
	if err != nil {
		t.Fatal(err)
	}
	two, err := f.Open(t.Context(), info.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Delete(t.Context(), info.ID); err != nil {
		t.Fatal(err)
	}
	if err := two.Close(); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(one); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the open reader: %d bytes, %v", len(got), err)
	}
	_, _ = one.Close(), one.Close() // closing twice lets go once
	if got := f.files(t); len(got) > 0 {
		t.Errorf("left behind after the last reader: %v", got)
	}
	if _, err := one.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Read after Close: %v", err)
	}
}

func TestDelete_ContentComesBackWhileTheOldOneIsRead(t *testing.T) {
	f := open(t, t.TempDir(), 0)
	content := random(1, 100)
	info := f.put(t, content)
	r, err := f.Open(t.Context(), info.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Delete(t.Context(), info.ID); err != nil {
		t.Fatal(err)
	}
	f.put(t, content)
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if got, err := f.read(t, info.ID); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the new blob fell with the old reader: %d bytes, %v", len(got), err)
	}
}

func TestReader_RefusesDamage(t *testing.T) {
	f := open(t, t.TempDir(), 0)
	content := random(1, 2*blob.ChunkSize)
	info := f.put(t, content)
	second := sha256.Sum256(content[blob.ChunkSize:])
	damaged := bytes.Clone(content[blob.ChunkSize:])
	damaged[7] ^= 1
	if err := os.WriteFile(f.ChunkPath(second), damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := f.read(t, info.ID)
	if !errors.Is(err, blob.ErrCorrupt) || !bytes.Equal(got, content[:blob.ChunkSize]) {
		t.Errorf("read %d bytes, %v, want the sound chunk and ErrCorrupt", len(got), err)
	}
}

func TestReader_Seeks(t *testing.T) {
	f := open(t, t.TempDir(), 0)
	content := random(1, 2*blob.ChunkSize+100)
	r, err := f.Open(t.Context(), f.put(t, content).ID)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if err := iotest.TestReader(r, content); err != nil {
		t.Error(err)
	}
}

func TestOpen_ClearsWhatACrashLeft(t *testing.T) {
	f := open(t, t.TempDir(), 0)
	kept, dead, stray := random(1, 100), random(2, 100), random(3, 100)
	f.put(t, kept)
	removed := f.put(t, dead)

	// An upload that died while it received, and one that died while it moved its chunks in place: one chunk is
	// in place already, one is held by another blob anyway, one has not moved.
	uploads := filepath.Join(f.dir, "blobs", "uploads")
	write := func(path string, content []byte) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(uploads, "put-1", "aa"), random(4, 10))
	list := bytes.Join([][]byte{sum(string(kept)), sum(string(stray)), sum("unmoved")}, nil)
	write(filepath.Join(uploads, "put-2", "chunks"), list)
	write(filepath.Join(uploads, "put-2", hex.EncodeToString(sum("unmoved"))), []byte("unmoved"))
	write(f.ChunkPath(id.ID(sum(string(stray)))), stray)
	write(filepath.Join(uploads, "put-3", "chunks"), list[:40]) // a torn list
	write(filepath.Join(uploads, "no-directory"), nil)

	// A removal that died after the index forgot the blob and before its file was gone.
	if err := f.db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.RemoveBlob(removed.ID)
		return err
	}); err != nil {
		t.Fatal(err)
	}

	f = f.reopen(t)
	if got, want := f.files(t), []string{hex.EncodeToString(sum(string(kept)))}; !reflect.DeepEqual(got, want) {
		t.Errorf("files after the restart: %v, want %v", got, want)
	}
	if got, err := f.read(t, wantID(kept)); err != nil || !bytes.Equal(got, kept) {
		t.Errorf("the sound blob: %d bytes, %v", len(got), err)
	}
	if err := f.db.View(t.Context(), func(tx *store.Tx) error {
		if left := tx.DeadChunks(); len(left) > 0 {
			t.Errorf("still marked dead: %v", left)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func TestConcurrentPutAndDeleteOfTheSameContent(t *testing.T) {
	f := open(t, t.TempDir(), 0)
	contents := make([][]byte, 3)
	shared := random(9, blob.ChunkSize)
	for i := range contents {
		contents[i] = append(bytes.Clone(shared), random(uint64(i), 10)...)
	}
	var wg sync.WaitGroup
	for worker := range 6 {
		wg.Go(func() {
			for round := range 12 {
				content := contents[(worker+round)%len(contents)]
				switch worker % 3 {
				case 0, 1:
					if _, err := f.Put(t.Context(), bytes.NewReader(content), nil, nil); err != nil {
						t.Errorf("Put: %v", err)
					}
				case 2:
					if err := f.Delete(t.Context(), wantID(content)); err != nil && !errors.Is(err, blob.ErrNotFound) {
						t.Errorf("Delete: %v", err)
					}
				}
				if got, err := f.read(t, wantID(content)); err == nil && !bytes.Equal(got, content) || err != nil && !errors.Is(err, blob.ErrNotFound) {
					t.Errorf("read: %d bytes, %v", len(got), err)
				}
			}
		})
	}
	wg.Wait()
	all, err := f.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range all {
		if _, err := f.read(t, info.ID); err != nil {
			t.Errorf("listed blob %s: %v", info.ID, err)
		}
		if err := f.Delete(t.Context(), info.ID); err != nil {
			t.Error(err)
		}
	}
	if got := f.files(t); len(got) > 0 {
		t.Errorf("%d files without a blob: %v", len(got), got)
	}
}

// heapReader yields size bytes, never the same chunk twice, and notes the live heap after every 8 MiB.
type heapReader struct {
	size, done int64
	peak       uint64
}

func (r *heapReader) Read(p []byte) (int, error) {
	if r.done == r.size {
		return 0, io.EOF
	}
	if r.done%(8*blob.ChunkSize) == 0 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		r.peak = max(r.peak, m.HeapAlloc)
	}
	n := min(len(p), blob.ChunkSize, int(r.size-r.done))
	clear(p[:n])
	binary.BigEndian.PutUint64(p, uint64(r.done))
	r.done += int64(n)
	return n, nil
}

func TestPut_MemoryDoesNotGrowWithTheBlob(t *testing.T) {
	f := open(t, t.TempDir(), 0)
	peak := func(size int64) uint64 {
		r := &heapReader{size: size}
		if _, err := f.Put(t.Context(), r, nil, nil); err != nil {
			t.Fatal(err)
		}
		return r.peak
	}
	// Four buffers are in use at most, but each processor can have some that wait to be used again.
	if small, large := peak(blob.ChunkSize), peak(48*blob.ChunkSize); large > small+24*blob.ChunkSize {
		t.Errorf("live heap while 1 MiB comes in: %d bytes, 48 MiB: %d", small, large)
	}
}

func BenchmarkPut(b *testing.B) {
	for _, n := range []int{8, 4 << 20} {
		b.Run(fmt.Sprintf("%d_bytes", n), func(b *testing.B) {
			f := open(b, b.TempDir(), 0)
			b.SetBytes(int64(n))
			var seed uint64
			for b.Loop() {
				seed++
				f.put(b, random(seed, n))
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	f := open(b, b.TempDir(), 0)
	info := f.put(b, random(1, 4<<20))
	b.SetBytes(info.Size)
	for b.Loop() {
		r, err := f.Open(b.Context(), info.ID)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			b.Fatal(err)
		}
		_ = r.Close()
	}
}

func TestOpen_NamesTheProblem(t *testing.T) {
	dir := t.TempDir()
	db, err := store.Open(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := os.WriteFile(filepath.Join(dir, "blobs"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = blob.Open(t.Context(), filepath.Join(dir, "blobs"), db, 0, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "blob directory") {
		t.Errorf("got %v", err)
	}
}

func TestCollect_RemovesWhatNobodyHolds(t *testing.T) {
	f := open(t, t.TempDir(), 0)
	kept, removed, read := random(1, 100), random(2, 100), random(3, 100)
	f.put(t, kept)
	for _, content := range [][]byte{removed, read} {
		f.put(t, content)
	}
	r, err := f.Open(t.Context(), wantID(read))
	if err != nil {
		t.Fatal(err)
	}
	// Another package's transaction: the chunks are dead, and nobody buries them.
	if err := f.db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.RemoveBlob(wantID(removed))
		_, err2 := tx.RemoveBlob(wantID(read))
		return errors.Join(err, err2)
	}); err != nil {
		t.Fatal(err)
	}
	stray := id.ID(sum("stray"))
	foreign := filepath.Join(filepath.Dir(f.ChunkPath(stray)), "NOTES")
	if err := errors.Join(os.WriteFile(f.ChunkPath(stray), []byte("stray"), 0o600), os.WriteFile(foreign, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	collect := func() {
		t.Helper()
		for i := range 256 {
			if err := f.Collect(t.Context(), i); err != nil {
				t.Fatal(err)
			}
		}
	}
	collect()
	exists := func(path string) bool { _, err := os.Stat(path); return err == nil }
	for name, tt := range map[string]struct{ got, want bool }{
		"held":        {exists(f.ChunkPath(id.ID(sum(string(kept))))), true},
		"removed":     {exists(f.ChunkPath(id.ID(sum(string(removed))))), false},
		"being read":  {exists(f.ChunkPath(id.ID(sum(string(read))))), true},
		"stray":       {exists(f.ChunkPath(stray)), false},
		"not a chunk": {exists(foreign), true},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: exists = %t, want %t", name, tt.got, tt.want)
		}
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, read) {
		t.Errorf("a reader across the collection: %d bytes, %v", len(got), err)
	}
	_ = r.Close()
	collect()
	if exists(f.ChunkPath(id.ID(sum(string(read))))) {
		t.Error("what was being read stays for ever")
	}
}

func TestCollect_TouchesNothingWhileTheIndexIsUncertain(t *testing.T) {
	f := open(t, t.TempDir(), 0)
	f.OnWrite(func(path string) error {
		if filepath.Base(path) == "chunks" {
			return f.db.Close()
		}
		return nil
	})
	content := random(1, 100)
	if _, err := f.Put(t.Context(), bytes.NewReader(content), nil, nil); err == nil {
		t.Fatal("Put succeeded without an index")
	}
	if err := f.Collect(t.Context(), int(sum(string(content))[0])); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(f.ChunkPath(id.ID(sum(string(content))))); err != nil {
		t.Errorf("a chunk whose fate the next start decides: %v", err)
	}
}

func TestRun_SweepsEverythingThenGoesOnAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, t.TempDir(), 0)
		stray := func(name string) string {
			path := f.ChunkPath(id.ID(sum(name)))
			if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
		first := stray("first")
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { f.Run(ctx, time.Minute) })
		synctest.Wait()
		if _, err := os.Stat(first); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after the start: %v", err)
		}
		second := stray("second")
		time.Sleep(257 * time.Minute)
		synctest.Wait()
		if _, err := os.Stat(second); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after 256 ticks: %v", err)
		}
		cancel()
		wg.Wait()
	})
}

func TestCommit_AllOrNothing(t *testing.T) {
	f := open(t, t.TempDir(), 0)
	shared := random(9, blob.ChunkSize)
	contents := [][]byte{append(bytes.Clone(shared), 1), append(bytes.Clone(shared), 2), shared}
	stage := func() []*blob.Staged {
		all := make([]*blob.Staged, len(contents))
		for i, c := range contents {
			var err error
			if all[i], err = f.Stage(t.Context(), bytes.NewReader(c), nil); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(all[i].Open())
			if err != nil || !bytes.Equal(got, c) {
				t.Errorf("content %d before the commit: %d bytes, %v", i, len(got), err)
			}
		}
		return all
	}
	discard := func(all []*blob.Staged) {
		for _, g := range all {
			g.Discard(t.Context())
		}
	}
	refusal := errors.New("refused")
	staged := stage()
	if err := f.Commit(t.Context(), func(*store.Tx) error { return refusal }, staged...); !errors.Is(err, refusal) {
		t.Errorf("Commit = %v, want the refusal", err)
	}
	discard(staged)
	if got := f.files(t); len(got) > 0 {
		t.Errorf("a refused commit left %v", got)
	}
	staged = stage()
	if err := f.Commit(t.Context(), nil, staged...); err != nil {
		t.Fatal(err)
	}
	discard(staged)
	for i, c := range contents {
		if got, err := f.read(t, wantID(c)); err != nil || !bytes.Equal(got, c) {
			t.Errorf("content %d: %d bytes, %v", i, len(got), err)
		}
	}
	staged = stage() // and given up
	discard(staged)
	if got := f.files(t); len(got) != 3 {
		t.Errorf("files in the end: %v, want three chunks", got)
	}
}
