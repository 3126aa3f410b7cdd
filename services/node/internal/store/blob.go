package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// Blob is the index entry of a stored blob.
type Blob struct {
	ID   id.ID  `json:"-"`
	Size int64  `json:"size"`
	Hash id.ID  `json:"hash"` // SHA-256 of the content
	MIME string `json:"mime"`
	Uses int    `json:"uses,omitempty"` // how many applications need it; it cannot be removed while there are any
	// Bound says that an application brought the blob, and that it goes with the last one that needs it. A blob
	// that somebody uploaded stays until somebody deletes it.
	Bound bool `json:"bound,omitempty"`
}

type blobRecord struct {
	V int `json:"v"`
	Blob
}

// BlobTotal sums up all blobs.
type BlobTotal struct {
	Count int64 `json:"count"`
	Bytes int64 `json:"bytes"`
}

// AddBlob enters a blob with the ids of its chunks in order. The chunks gain a reference for each place, and are
// no longer dead. It reports false if the blob is there already; then all that can change is that a bound one
// that is now uploaded is bound no more.
func (t *Tx) AddBlob(b Blob, chunks []id.ID) (bool, error) {
	switch old, err := t.Blob(b.ID); {
	case errors.Is(err, ErrNotFound):
	case err != nil:
		return false, err
	case old.Bound && !b.Bound:
		old.Bound = false
		return false, t.put(bucketBlobs, b.ID[:], blobRecord{1, old})
	default:
		return false, nil
	}
	if err := t.put(bucketBlobs, b.ID[:], blobRecord{1, b}); err != nil {
		return false, err
	}
	list := make([]byte, 0, len(chunks)*id.Size)
	for _, c := range chunks {
		list = append(list, c[:]...)
		if _, err := t.addRef(c, 1); err != nil {
			return false, err
		}
		if err := t.tx.Bucket(bucketDeadChunks).Delete(c[:]); err != nil {
			return false, err
		}
	}
	if err := t.tx.Bucket(bucketBlobChunks).Put(b.ID[:], list); err != nil {
		return false, err
	}
	return true, t.addTotal(1, b.Size)
}

// RemoveBlob removes a blob from the index and returns the chunks that no blob holds any more, which are marked
// dead until [Tx.ForgetChunk]. The error is [ErrNotFound] if there is no such blob, [ErrInUse] if something
// needs it.
func (t *Tx) RemoveBlob(blob id.ID) (dead []id.ID, err error) {
	b, err := t.Blob(blob)
	if err != nil {
		return nil, err
	}
	if b.Uses > 0 {
		return nil, ErrInUse
	}
	chunks, err := t.BlobChunks(blob)
	if err != nil {
		return nil, err
	}
	for _, c := range chunks {
		left, err := t.addRef(c, -1)
		if err != nil {
			return nil, err
		}
		if left > 0 {
			continue
		}
		if err := t.tx.Bucket(bucketDeadChunks).Put(c[:], []byte{}); err != nil {
			return nil, err
		}
		dead = append(dead, c)
	}
	err = errors.Join(t.tx.Bucket(bucketBlobs).Delete(blob[:]), t.tx.Bucket(bucketBlobChunks).Delete(blob[:]), t.addTotal(-1, -b.Size))
	return dead, err
}

// UseBlob changes the number of things that need a blob by delta. The error is [ErrNotFound] if there is no such
// blob.
func (t *Tx) UseBlob(blob id.ID, delta int) error {
	b, err := t.Blob(blob)
	if err != nil {
		return err
	}
	if b.Uses += delta; b.Uses < 0 {
		return fmt.Errorf("blob %s: %d uses", blob, b.Uses)
	}
	return t.put(bucketBlobs, blob[:], blobRecord{1, b})
}

// ReleaseBlob takes one use off a blob and removes it, as [Tx.RemoveBlob] does, if it is bound and this was the
// last one. The error is [ErrNotFound] if there is no such blob.
func (t *Tx) ReleaseBlob(blob id.ID) error {
	if err := t.UseBlob(blob, -1); err != nil {
		return err
	}
	b, err := t.Blob(blob)
	if err != nil || b.Uses > 0 || !b.Bound {
		return err
	}
	_, err = t.RemoveBlob(blob)
	return err
}

// Blob reads the entry of a blob. The error is [ErrNotFound] if there is none.
func (t *Tx) Blob(blob id.ID) (Blob, error) {
	var r blobRecord
	if err := t.get(bucketBlobs, blob[:], &r); err != nil {
		return Blob{}, err
	}
	r.ID = blob
	return r.Blob, nil
}

// BlobChunks returns the ids of a blob's chunks in order. The error is [ErrNotFound] if there is no such blob.
func (t *Tx) BlobChunks(blob id.ID) ([]id.ID, error) {
	list := t.tx.Bucket(bucketBlobChunks).Get(blob[:])
	if list == nil {
		return nil, ErrNotFound
	}
	if len(list)%id.Size != 0 {
		return nil, fmt.Errorf("damaged record %s %x: %d bytes", bucketBlobChunks, blob[:], len(list))
	}
	chunks := make([]id.ID, len(list)/id.Size)
	for i := range chunks {
		chunks[i] = id.ID(list[i*id.Size:])
	}
	return chunks, nil
}

// Blobs yields the entries of all blobs in the order of their ids, until an error.
func (t *Tx) Blobs() iter.Seq2[Blob, error] {
	return func(yield func(Blob, error) bool) {
		c := t.tx.Bucket(bucketBlobs).Cursor()
		for key, text := c.First(); key != nil; key, text = c.Next() {
			var r blobRecord
			err := decode(bucketBlobs, key, text, &r)
			if err == nil {
				r.ID = id.ID(key)
			}
			if !yield(r.Blob, err) || err != nil {
				return
			}
		}
	}
}

// BlobTotal returns the count and size of all blobs, at a cost that does not grow with their number.
func (t *Tx) BlobTotal() (BlobTotal, error) {
	var total BlobTotal
	err := t.get(bucketMeta, keyBlobTotal, &total)
	if errors.Is(err, ErrNotFound) {
		return BlobTotal{}, nil
	}
	return total, err
}

func (t *Tx) addTotal(count, size int64) error {
	total, err := t.BlobTotal()
	if err != nil {
		return err
	}
	total.Count += count
	total.Bytes += size
	return t.put(bucketMeta, keyBlobTotal, total)
}

// ChunkRefs returns how many places of blobs hold a chunk.
func (t *Tx) ChunkRefs(chunk id.ID) (uint64, error) {
	v := t.tx.Bucket(bucketChunkRefs).Get(chunk[:])
	if v == nil {
		return 0, nil
	}
	if len(v) != 8 {
		return 0, fmt.Errorf("damaged record %s %x: %d bytes", bucketChunkRefs, chunk[:], len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}

// addRef changes the reference count of a chunk by one and returns the new count.
func (t *Tx) addRef(chunk id.ID, delta int) (uint64, error) {
	refs, err := t.ChunkRefs(chunk)
	if err != nil {
		return 0, err
	}
	if delta < 0 && refs == 0 {
		return 0, fmt.Errorf("chunk %s: no reference to give up", chunk)
	}
	if refs += uint64(delta); refs == 0 { //nolint:gosec // adding -1 by wrap-around is meant, 0 is excluded above
		return 0, t.tx.Bucket(bucketChunkRefs).Delete(chunk[:])
	}
	return refs, t.tx.Bucket(bucketChunkRefs).Put(chunk[:], binary.BigEndian.AppendUint64(nil, refs))
}

// DeadChunks returns the chunks whose files are yet to be removed.
func (t *Tx) DeadChunks() []id.ID {
	var dead []id.ID
	c := t.tx.Bucket(bucketDeadChunks).Cursor()
	for key, _ := c.First(); key != nil; key, _ = c.Next() {
		dead = append(dead, id.ID(key))
	}
	return dead
}

// IsDeadChunk reports whether the file of a chunk is yet to be removed.
func (t *Tx) IsDeadChunk(chunk id.ID) bool { return t.tx.Bucket(bucketDeadChunks).Get(chunk[:]) != nil }

// ForgetChunk notes that the file of a dead chunk is gone.
func (t *Tx) ForgetChunk(chunk id.ID) error { return t.tx.Bucket(bucketDeadChunks).Delete(chunk[:]) }
