package contexts

import (
	"context"
	"errors"

	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/runtime"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// What changes on their way to the disk may hold in memory, for one context.
const (
	maxStaged      = 512      // changes
	maxStagedBytes = 64 << 20 // of their keys and values
)

// live is a context while somebody uses it.
//
// Whoever holds turn runs a call, or changes the context in another way, and alone touches the fields below it. The
// entry in [Manager.live] goes away with its last user. Users stay until their changes are on disk, so an absent entry
// means that the database holds everything.
type live struct {
	turn  chan struct{} // holds an element while somebody has the turn
	users int           // guarded by Manager.mu

	loaded  bool
	exists  bool
	head    store.Context // as it will be when all staged changes are on disk, but for the counts of bytes
	members []store.Identity

	staged  []stage // oldest first
	bytes   int
	entries [2]map[string]entry // by space: what the staged changes wrote
}

// stage is a change on its way to the disk.
type stage struct {
	change *store.Pending
	seq    uint64 // the number of deltas with it
	keys   [2][]string
	bytes  int
}

// entry is a value that a staged change wrote.
type entry struct {
	value  []byte
	absent bool
	seq    uint64 // of the change
}

// seat is the use of a live context by one goroutine.
type seat struct {
	*live
	m       *Manager
	id      id.ID
	hasTurn bool
}

// take waits for the turn in a context. The caller must call leave.
func (m *Manager) take(ctx context.Context, c id.ID) (*seat, error) {
	m.mu.Lock()
	l := m.live[c]
	if l == nil {
		l = &live{turn: make(chan struct{}, 1)}
		m.live[c] = l
	}
	l.users++
	m.mu.Unlock()
	s := &seat{live: l, m: m, id: c}
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		s.leave()
		return nil, context.Cause(ctx)
	}
	s.hasTurn = true
	if err := s.settle(ctx); err != nil {
		s.leave()
		return nil, err
	}
	return s, nil
}

// pass lets the next one have the turn.
func (s *seat) pass() {
	if s.hasTurn {
		s.hasTurn = false
		<-s.turn
	}
}

// leave ends the use. Changes that were staged must be done.
func (s *seat) leave() {
	s.pass()
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if s.users--; s.users == 0 {
		delete(s.m.live, s.id)
	}
}

// settle forgets the staged changes that are on disk, and makes room if there are too many. When one failed, all that
// were made upon it fail too: the context starts again from what the database holds.
func (s *seat) settle(ctx context.Context) error {
	for len(s.staged) > 0 {
		oldest := s.staged[0]
		full := len(s.staged) >= maxStaged || s.bytes >= maxStagedBytes
		select {
		case <-oldest.change.Done():
		default:
			if !full {
				return s.load(ctx)
			}
		}
		if oldest.change.Wait() != nil {
			s.restart()
			break
		}
		s.unstage(oldest)
	}
	return s.load(ctx)
}

// drain waits until nothing is staged any more, for changes that cannot be made upon what is on its way.
func (s *seat) drain(ctx context.Context) error {
	for len(s.staged) > 0 {
		if s.staged[0].change.Wait() != nil {
			s.restart()
			break
		}
		s.unstage(s.staged[0])
	}
	return s.load(ctx)
}

// restart waits for the changes that fail with one that failed, and forgets everything.
func (s *seat) restart() {
	for _, st := range s.staged {
		_ = st.change.Wait() // whoever made it reports it
	}
	s.forget()
}

func (s *seat) forget() {
	s.loaded, s.exists, s.head, s.members = false, false, store.Context{}, nil
	s.staged, s.bytes, s.entries = nil, 0, [2]map[string]entry{}
}

// unstage forgets the oldest change, which is on disk.
func (s *seat) unstage(oldest stage) {
	s.staged = s.staged[1:]
	s.bytes -= oldest.bytes
	for space, keys := range oldest.keys {
		for _, key := range keys {
			if s.entries[space][key].seq == oldest.seq {
				delete(s.entries[space], key)
			}
		}
	}
}

// load reads the context, if that was not done. A context that does not exist has the zero head.
func (s *seat) load(ctx context.Context) error {
	if s.loaded {
		return nil
	}
	err := s.m.Store.View(ctx, func(tx *store.Tx) (err error) {
		if s.head, err = tx.Context(s.id); err != nil {
			return err
		}
		s.members, err = tx.Identities(s.id)
		return err
	})
	s.exists = err == nil
	if errors.Is(err, store.ErrNotFound) {
		s.head, err = store.Context{}, nil
	}
	s.loaded = err == nil
	return err
}

// stage hands a change over, and takes its writes into account for the calls that follow.
func (s *seat) stage(next store.Context, out *runtime.Outcome, fn func(*store.Tx) error) *store.Pending {
	st := stage{seq: next.Deltas}
	for space, writes := range [2][]runtime.Write{out.Writes, out.PrivateWrites} {
		if s.entries[space] == nil && len(writes) > 0 {
			s.entries[space] = map[string]entry{}
		}
		for _, w := range writes {
			key := string(w.Key)
			s.entries[space][key] = entry{w.Value, w.Remove, st.seq}
			st.keys[space] = append(st.keys[space], key)
			st.bytes += len(w.Key) + len(w.Value)
		}
	}
	st.change = s.m.Store.Enqueue(fn)
	s.head, s.exists = next, true
	s.bytes += st.bytes
	s.staged = append(s.staged, st)
	return st.change
}

// awaited returns the change that must be on disk before anybody learns what was read now, nil if all is.
func (s *seat) awaited() *store.Pending {
	if len(s.staged) == 0 {
		return nil
	}
	return s.staged[len(s.staged)-1].change
}

// reader reads what the application stored, the staged changes included.
type reader struct {
	seat  *seat
	space store.Space
}

// Get implements [runtime.Reader]. It reads in a transaction of its own: one that stayed open for the whole call would
// hold up the writers when the file grows.
func (r reader) Get(ctx context.Context, key []byte) (value []byte, found bool, err error) {
	if e, ok := r.seat.entries[r.space][string(key)]; ok {
		return e.value, !e.absent, nil
	}
	err = r.seat.m.Store.View(ctx, func(tx *store.Tx) error {
		value, found = tx.Entry(r.space, r.seat.id, key)
		return nil
	})
	return value, found, err
}
