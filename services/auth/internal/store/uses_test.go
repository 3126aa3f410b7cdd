package store_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// session stores a key with one session and returns its live records, held.
func session(t *testing.T, s *store.Store, id string) store.Live {
	t.Helper()
	update(t, s, func(tx *store.Tx) error {
		return errors.Join(
			tx.CreateKey(store.Key{ID: "key-" + id, Type: store.Root}, []string{"admin"}),
			tx.CreateFamily(store.Family{ID: id, Key: "key-" + id, Created: start.Unix()}))
	})
	return live(t, s, id)
}

func live(t *testing.T, s *store.Store, id string) store.Live {
	t.Helper()
	l, err := s.Live(t.Context(), id, "key-"+id)
	if err != nil {
		t.Fatal(err)
	}
	l.Family = s.Hold(l.Family)
	return l
}

func lastUse(t *testing.T, s *store.Store, id string) (session, key int64) {
	t.Helper()
	view(t, s, func(tx *store.Tx) (err error) {
		f, err := tx.Family(id)
		if err != nil {
			return err
		}
		if session, err = s.LastUse(tx, f); err != nil {
			return err
		}
		key, err = tx.KeyUsed("key-" + id)
		return err
	})
	return session, key
}

func save(t *testing.T, s *store.Store) {
	t.Helper()
	if err := s.SaveUses(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// writes counts the updates of a store, and fails them on demand.
type writes struct {
	kv.DB
	updates atomic.Int64
	fail    atomic.Pointer[error]
	before  atomic.Pointer[func()] // of the next update
}

func (w *writes) Update(ctx context.Context, fn func(kv.Tx) error) error {
	if err := w.fail.Load(); err != nil {
		return *err
	}
	w.updates.Add(1)
	if before := w.before.Swap(nil); before != nil {
		(*before)()
	}
	return w.DB.Update(ctx, fn)
}

func TestUses_SavedInOneWriteHoweverManyThereWere(t *testing.T) {
	onEachBackend(t, func(t *testing.T, db kv.DB) {
		counted := &writes{DB: db}
		s := open(t, counted)
		l := session(t, s, "a")
		session(t, s, "idle")
		at := start.Unix()
		if got := l.Family.LastUse(); got != at {
			t.Errorf("a session that was never used: last use %d, want its beginning, %d", got, at)
		}
		counted.updates.Store(0)
		for i := range 1000 {
			s.Touch(l.Family, at+int64(i/100))
		}
		if session, key := lastUse(t, s, "a"); session != at+9 || key != 0 || counted.updates.Load() != 0 {
			t.Errorf("before the save: session %d, key %d, %d writes, want %d, 0 and none", session, key, counted.updates.Load(), at+9)
		}
		save(t, s)
		save(t, s)
		if n := counted.updates.Load(); n != 1 {
			t.Errorf("%d writes for a thousand uses and two saves, want 1", n)
		}
		again := open(t, db) // as after a restart
		if session, key := lastUse(t, again, "a"); session != at+9 || key != at+9 {
			t.Errorf("after a restart: session %d, key %d, want %d", session, key, at+9)
		}
		if session, key := lastUse(t, again, "idle"); session != at || key != 0 {
			t.Errorf("the other session: %d and key %d, want %d and never", session, key, at)
		}
	})
}

// Every session of a minute is saved, in small transactions.
func TestUses_Batches(t *testing.T) {
	counted := &writes{DB: closing(t, memory.New())}
	s := open(t, counted)
	const sessions = 1000
	for i := range sessions {
		s.Touch(session(t, s, strconv.Itoa(i)).Family, start.Unix()+1+int64(i))
	}
	counted.updates.Store(0)
	save(t, s)
	if n := counted.updates.Load(); n != 4 {
		t.Errorf("%d transactions for %d sessions, want 4 of at most 256", n, sessions)
	}
	for i := range sessions {
		if got, key := lastUse(t, s, strconv.Itoa(i)); got != start.Unix()+1+int64(i) || key != got {
			t.Fatalf("session %d was used at %d, its key at %d", i, got, key)
		}
	}
}

// A save that fails loses nothing, also what came meanwhile.
func TestUses_FailedSaveIsMadeUpFor(t *testing.T) {
	db := &writes{DB: closing(t, memory.New())}
	s := open(t, db)
	var all []store.Live
	for i := range 600 {
		l := session(t, s, strconv.Itoa(i))
		s.Touch(l.Family, start.Unix()+5)
		all = append(all, l)
	}
	broken := errors.New("no space left on device")
	db.fail.Store(&broken)
	if err := s.SaveUses(t.Context()); !errors.Is(err, broken) || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("SaveUses = %v, want the failure, marked", err)
	}
	s.Touch(all[0].Family, start.Unix()+9)
	db.fail.Store(nil)
	save(t, s)
	for i := range all {
		want := start.Unix() + 5
		if i == 0 {
			want += 4
		}
		if _, key := lastUse(t, s, strconv.Itoa(i)); key != want {
			t.Fatalf("key %d was used at %d, want %d", i, key, want)
		}
	}
}

// A decision that was evicted and comes back finds the use that is not yet saved, also while it is being saved. After
// that nothing of it is left in memory.
func TestUses_FoundAgainBeforeTheSave(t *testing.T) {
	db := &writes{DB: closing(t, memory.New())}
	s := open(t, db)
	s.Limits.Idle = time.Hour
	l := session(t, s, "a")
	s.Touch(l.Family, start.Unix()+77)
	s.Release(l.Family)
	check := func(when string, want int64) {
		t.Helper()
		again, err := s.Live(t.Context(), "a", "key-a")
		if err != nil {
			t.Fatal(err)
		}
		f := s.Hold(again.Family)
		defer s.Release(f)
		if got := f.LastUse(); got != want {
			t.Errorf("%s: last use %d, want %d", when, got, want)
		}
	}
	check("before the save", start.Unix()+77)
	saving := func() {
		for range 2 {
			check("during the save", start.Unix()+77)
		}
	}
	db.before.Store(&saving)
	save(t, s)
	if n := store.Held(s); n != 0 {
		t.Errorf("%d families in memory after the save, want none", n)
	}
	check("after the save", start.Unix()+77)
}

// A session that is used while it is saved is saved again.
func TestUses_UsedDuringTheSave(t *testing.T) {
	db := &writes{DB: closing(t, memory.New())}
	s := open(t, db)
	l := session(t, s, "a")
	s.Touch(l.Family, start.Unix()+1)
	saving := func() {
		s.Touch(l.Family, start.Unix()+2)
		s.Release(l.Family)
	}
	db.before.Store(&saving)
	save(t, s)
	save(t, s)
	if session, key := lastUse(t, s, "a"); session != start.Unix()+2 || key != session {
		t.Errorf("session %d, key %d, want %d", session, key, start.Unix()+2)
	}
	if n := store.Held(s); n != 0 {
		t.Errorf("%d families in memory, want none", n)
	}
}

// A decision that is evicted while a request uses it: the use reaches those who have read the session again.
func TestUses_OfAnEvictedDecision(t *testing.T) {
	s := open(t, closing(t, memory.New()))
	evicted := session(t, s, "a").Family
	s.Release(evicted)
	again := live(t, s, "a").Family
	s.Touch(evicted, start.Unix()+9)
	save(t, s)
	if session, key := lastUse(t, s, "a"); again == evicted || again.LastUse() != start.Unix()+9 || session != start.Unix()+9 || key != session {
		t.Errorf("read again: %d, stored: session %d, key %d, want %d", again.LastUse(), session, key, start.Unix()+9)
	}
}

// All tokens of a session share its last use, whoever read it first, and forget it with the last of them.
func TestUses_SharedByAllTokens(t *testing.T) {
	s := open(t, closing(t, memory.New()))
	one := session(t, s, "a")
	two := live(t, s, "a")
	s.Touch(one.Family, start.Unix()+5)
	if got := two.Family.LastUse(); got != start.Unix()+5 {
		t.Errorf("the other token was used at %d, want %d", got, start.Unix()+5)
	}
	save(t, s)
	s.Release(one.Family)
	if n := store.Held(s); n != 1 {
		t.Errorf("%d families in memory with one token, want 1", n)
	}
	s.Release(two.Family)
	if n := store.Held(s); n != 0 {
		t.Errorf("%d families in memory with none, want none", n)
	}
}

// What is saved of a session goes with it, and a late save does not bring it back.
func TestUses_SweptWithTheirSession(t *testing.T) {
	db := closing(t, memory.New())
	s := open(t, db)
	l := session(t, s, "a")
	count := func() (n int) {
		for range bucket(t, db, "session_used") {
			n++
		}
		return n
	}
	s.Touch(l.Family, start.Unix()+1)
	save(t, s)
	if count() != 1 {
		t.Fatal("nothing was saved")
	}
	s.Touch(l.Family, start.Unix()+2)
	if n, err := s.SweepFamilies(t.Context(), start, ""); n != 1 || err != nil {
		t.Fatalf("the sweep deleted %d, %v", n, err)
	}
	save(t, s)
	if n := count(); n != 0 {
		t.Errorf("%d records of a session that is gone", n)
	}
	view(t, s, func(tx *store.Tx) error {
		if at, err := tx.KeyUsed("key-a"); at != start.Unix()+2 || err != nil {
			t.Errorf("the key was used at %d, %v; it stays", at, err)
		}
		return nil
	})
}

func bucket(t *testing.T, db kv.DB, name string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := db.View(t.Context(), func(tx kv.Tx) error {
		for key, value := range tx.Scan(name, "") {
			all[key] = string(value)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A clock that was wrong for a moment must not keep sessions awake for years.
func TestUses_ClockThatWasInTheFuture(t *testing.T) {
	s := open(t, closing(t, memory.New()))
	l := session(t, s, "a")
	s.Touch(l.Family, start.AddDate(74, 0, 0).Unix())
	save(t, s)
	for i := range int64(2) {
		s.Touch(l.Family, start.Unix()+i)
	}
	save(t, s)
	if session, key := lastUse(t, s, "a"); session != start.Unix()+1 || key != start.Unix()+1 {
		t.Errorf("session %d, key %d, want %d", session, key, start.Unix()+1)
	}
}

// More sessions than the queue holds: it stays bounded and takes them with their next use. Where idle sessions end, it
// asks to be saved before it is full; elsewhere nothing is lost that would be worth the writes.
func TestUses_MoreThanTheQueueHolds(t *testing.T) {
	for _, idle := range []time.Duration{0, time.Hour} {
		usesOverflow(t, idle)
	}
}

func usesOverflow(t *testing.T, idle time.Duration) {
	t.Helper()
	s := open(t, closing(t, memory.New()))
	s.Limits.Idle = idle
	const sessions = 1<<14 + 1000
	families := make([]store.Family, sessions)
	for i := range families {
		families[i] = store.Family{ID: strconv.Itoa(i), Key: "k"}
		s.Used(families[i], start)
	}
	if n := store.Queued(s); n != 1<<14 {
		t.Errorf("%d uses wait, want %d", n, 1<<14)
	}
	asked := false
	select {
	case <-s.SaveDue():
		asked = true
	default:
	}
	if asked != (idle > 0) {
		t.Errorf("sessions end after %v without use: a save was asked for: %t", idle, asked)
	}
	save(t, s)
	for _, f := range families {
		s.Used(f, start.Add(time.Second))
	}
	save(t, s)
	view(t, s, func(tx *store.Tx) error {
		if at, err := tx.KeyUsed("k"); at != start.Unix()+1 || err != nil {
			t.Errorf("the key was used at %d, %v", at, err)
		}
		return nil
	})
}

// Uses and saves at the same time: the last use of each session is known in the end.
func TestUses_Parallel(t *testing.T) {
	s := open(t, closing(t, memory.New()))
	const sessions, steps = 64, 300
	for i := range sessions {
		s.Release(session(t, s, strconv.Itoa(i)).Family)
	}
	var users sync.WaitGroup
	for i := range sessions {
		users.Go(func() {
			for step := range int64(steps) {
				l, err := s.Live(context.Background(), strconv.Itoa(i), "key-"+strconv.Itoa(i))
				if err != nil {
					t.Error(err)
					return
				}
				f := s.Hold(l.Family)
				s.Touch(f, start.Unix()+step)
				s.Release(f)
			}
		})
	}
	done := make(chan struct{})
	go func() {
		users.Wait()
		close(done)
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		save(t, s)
	}
	if n := store.Held(s); n != 0 {
		t.Errorf("%d families in memory, want none", n)
	}
	if n := store.Queued(s); n != 0 {
		t.Errorf("%d uses still wait", n)
	}
	for i := range sessions {
		if got, key := lastUse(t, s, strconv.Itoa(i)); got != start.Unix()+steps-1 || key != got {
			t.Errorf("session %d was used at %d, its key at %d, want %d", i, got, key, start.Unix()+steps-1)
		}
	}
}
