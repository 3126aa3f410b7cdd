package store

import (
	"fmt"
	"hash/maphash"
	"sync/atomic"

	"github.com/calimero-network/mero-go/pkg/permission"
)

// recent keeps what look-ups have read lately and others are likely to need again: the keys, which all sessions of a
// key share, and the prepared permission lists, which most keys of an application share. Both are bounded, and read
// without a lock.
type recent struct {
	keys  [1024][4]atomic.Pointer[LiveKey]
	next  atomic.Uint32 // way to evict next
	lists [512]atomic.Pointer[Granted]
}

func (r *recent) set(seed maphash.Seed, id string) *[4]atomic.Pointer[LiveKey] {
	return &r.keys[maphash.String(seed, id)%uint64(len(r.keys))]
}

// key returns the key of this id if it was read under the epoch of s.
func (r *recent) key(seed maphash.Seed, id string, s seen) *LiveKey {
	set := r.set(seed, id)
	for i := range set {
		if k := set[i].Load(); k != nil && k.ID == id && k.epoch == s.epoch {
			return k
		}
	}
	return nil
}

// keep stores k in place of an older reading, a free way, or a victim. Nobody else may have seen k yet.
func (r *recent) keep(seed maphash.Seed, k *LiveKey, s seen) {
	k.epoch = s.epoch
	set := r.set(seed, k.ID)
	way := -1
	for i := range set {
		old := set[i].Load()
		if old != nil && old.ID == k.ID {
			way = i
			break
		}
		if old == nil {
			way = i
		}
	}
	if way < 0 {
		way = int(r.next.Add(1) % uint32(len(set)))
	}
	set[way].Store(k)
}

// Granted is a permission list, prepared for decisions. It is shared; do not change it.
type Granted struct {
	Permissions []string        // verbatim, in order
	Set         *permission.Set // the same, prepared for decisions
	Effective   []string        // those of them that mean anything, each once
	Joined      string          // the same as one text

	raw string // what it was read from
}

// maxShared bounds, in bytes, the text of a list that is kept for others.
const maxShared = 1024

// granted reads a stored list.
func (r *recent) granted(seed maphash.Seed, raw []byte) (*Granted, error) {
	place := &r.lists[maphash.Bytes(seed, raw)%uint64(len(r.lists))]
	if g := place.Load(); g != nil && g.raw == string(raw) {
		return g, nil
	}
	list, err := decodePermissions(raw)
	if err != nil {
		return nil, fmt.Errorf("permissions: %w", err)
	}
	g := &Granted{Permissions: list, Set: permission.NewSet(list), Effective: permission.Effective(list)}
	g.Joined = permission.Join(g.Effective)
	if len(raw) <= maxShared {
		g.raw = string(raw)
		place.Store(g)
	}
	return g, nil
}
