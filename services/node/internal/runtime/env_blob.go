package runtime

import (
	"errors"
	"io"

	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// blobs are the blobs that a guest has open, by numbers from 1 on.
type blobs struct {
	open    map[uint64]*blobHandle
	last    uint64
	written int64
}

// blobHandle is a blob that is read or written: exactly one of reader, writer and missing is set.
type blobHandle struct {
	id      id.ID // of one that is read
	reader  io.ReadCloser
	writer  BlobWriter
	missing bool
}

// closeBlobs closes what the guest has left open.
func (v *invocation) closeBlobs() {
	for _, h := range v.blobs.open {
		switch {
		case h.reader != nil:
			_ = h.reader.Close()
		case h.writer != nil:
			h.writer.Discard()
		}
	}
	v.blobs.open = nil
}

// blobsOrAbort returns the call's window on blobs.
func (v *invocation) blobsOrAbort() Blobs {
	if v.call.Blobs == nil {
		v.abort(fail(ErrUnsupported, "the host has no blobs for this call"))
	}
	return v.call.Blobs
}

func (v *invocation) addBlob(h *blobHandle) uint64 {
	if v.blobs.open == nil {
		v.blobs.open = map[uint64]*blobHandle{}
	}
	v.blobs.last++
	v.blobs.open[v.blobs.last] = h
	return v.blobs.last
}

// blob returns an open blob.
func (v *invocation) blob(fd uint64) *blobHandle {
	h := v.blobs.open[fd]
	if h == nil {
		v.abort(errHandle)
	}
	return h
}

var errHandle = fail(ErrTrap, "invalid blob handle")

func blobCreate(v *invocation, stack []uint64) {
	from := v.blobsOrAbort()
	v.room("open blobs", len(v.blobs.open), v.engine.limits.BlobHandles)
	w, err := from.Create(v)
	if err != nil {
		v.hostFailed("no blob could be made", err)
	}
	stack[0] = v.addBlob(&blobHandle{writer: w})
}

// blobOpen opens a blob for reading. One that does not exist is as one that is empty.
func blobOpen(v *invocation, stack []uint64) {
	blob, from := v.id(stack[0]), v.blobsOrAbort()
	v.room("open blobs", len(v.blobs.open), v.engine.limits.BlobHandles)
	r, ok, err := from.Open(v, blob)
	if err != nil {
		v.hostFailed("the blob could not be opened", err)
	}
	h := &blobHandle{id: blob, missing: !ok}
	if ok {
		h.reader = r
	}
	stack[0] = v.addBlob(h)
}

// blobRead fills the guest's buffer, less only at the end of the blob.
func blobRead(v *invocation, stack []uint64) {
	h := v.blob(stack[0])
	if h.writer != nil {
		v.abort(errHandle)
	}
	to := v.bounded("the size of a part of a blob", stack[1], v.engine.limits.BlobChunkSize)
	stack[0] = 0
	if h.missing {
		return
	}
	n, err := io.ReadFull(h.reader, to)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		v.hostFailed("the blob could not be read", err)
	}
	stack[0] = uint64(n) //nolint:gosec // not negative
}

func blobWrite(v *invocation, stack []uint64) {
	h := v.blob(stack[0])
	if h.writer == nil {
		v.abort(errHandle)
	}
	from := v.bounded("the size of a part of a blob", stack[1], v.engine.limits.BlobChunkSize)
	v.blobs.written += int64(len(from))
	v.limit("the size of all that is written to blobs", uint64(v.blobs.written), uint64(v.engine.limits.BlobTotal)) //nolint:gosec // not negative
	if _, err := h.writer.Write(from); err != nil {
		v.hostFailed("the blob could not be written", err)
	}
	stack[0] = uint64(len(from))
}

// blobClose writes the blob's id into the guest's buffer.
func blobClose(v *invocation, stack []uint64) {
	h, to := v.blob(stack[0]), v.bytes(stack[1])
	if len(to) != id.Size {
		v.abort(errMemory)
	}
	delete(v.blobs.open, stack[0])
	blob := h.id
	if h.reader != nil {
		_ = h.reader.Close()
	}
	if h.writer != nil {
		var err error
		if blob, err = h.writer.Finish(v); err != nil {
			v.hostFailed("the blob could not be written", err)
		}
	}
	copy(to, blob[:])
	stack[0] = 1
}

// blobAnnounce says 0 where the node does not have the blob.
func blobAnnounce(v *invocation, stack []uint64) {
	blob, to, from := v.id(stack[0]), v.id(stack[1]), v.blobsOrAbort()
	ok, err := from.Announce(v, blob, to)
	if err != nil {
		v.hostFailed("the blob could not be announced", err)
	}
	stack[0] = 0
	if ok {
		stack[0] = 1
	}
}
