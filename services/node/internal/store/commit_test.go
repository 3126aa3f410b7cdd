package store_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

func alias(n int) store.Alias {
	return store.Alias{Kind: store.ContextAlias, Name: fmt.Sprintf("n%03d", n), Target: id.ID{byte(n)}}
}

func names(t *testing.T, s *store.Store) (list []string) {
	t.Helper()
	view(t, s, func(tx *store.Tx) error {
		for a, err := range tx.Aliases(store.ContextAlias, id.ID{}) {
			if err != nil {
				return err
			}
			list = append(list, a.Name)
		}
		return nil
	})
	return list
}

func TestEnqueue_KeepsTheOrderAndSharesTheFlush(t *testing.T) {
	s := open(t, t.TempDir())
	// The first change waits until the others are in the queue behind it.
	hold, entered := make(chan struct{}), make(chan struct{})
	first := s.Enqueue(func(*store.Tx) error { close(entered); <-hold; return nil })
	<-entered
	before := s.Writes()
	var changes []*store.Pending
	const count = 100
	for n := range count {
		changes = append(changes, s.Enqueue(func(tx *store.Tx) error {
			for a, err := range tx.Aliases(store.ContextAlias, id.ID{}) {
				if err != nil || a.Name >= alias(n).Name {
					return fmt.Errorf("change %d comes after %s: %w", n, a.Name, err)
				}
			}
			return tx.AddAlias(alias(n))
		}))
	}
	close(hold)
	for _, c := range append(changes, first) {
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	}
	if got := names(t, s); len(got) != count {
		t.Errorf("%d changes, want %d", len(got), count)
	}
	// One transaction for the change that held the others up, and one for them, whatever the scheduler does.
	if n := s.Writes() - before; n > 2 {
		t.Errorf("%d transactions for %d changes that waited together", n, count)
	}
}

func TestEnqueue_AFailingChangeTakesNoOtherWithIt(t *testing.T) {
	s := open(t, t.TempDir())
	refused := errors.New("refused")
	hold, entered := make(chan struct{}), make(chan struct{})
	first := s.Enqueue(func(*store.Tx) error { close(entered); <-hold; return nil })
	<-entered
	add := func(n int, err error) *store.Pending {
		return s.Enqueue(func(tx *store.Tx) error { return errors.Join(tx.AddAlias(alias(n)), err) })
	}
	one := add(1, nil)
	two := add(2, refused)
	three := s.Enqueue(func(tx *store.Tx) error { // builds upon what failed
		if _, err := tx.Alias(store.ContextAlias, id.ID{}, alias(2).Name); err != nil {
			return err
		}
		return tx.AddAlias(alias(3))
	})
	four := s.Enqueue(func(tx *store.Tx) error {
		if err := tx.AddAlias(alias(4)); err != nil {
			return err
		}
		panic("a fault of ours")
	})
	five := add(5, nil)
	close(hold)
	for name, tt := range map[string]struct {
		change *store.Pending
		want   error
	}{"first": {first, nil}, "one": {one, nil}, "two": {two, refused}, "three": {three, store.ErrNotFound}, "five": {five, nil}} {
		if err := tt.change.Wait(); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if err := four.Wait(); err == nil {
		t.Error("the change that panicked succeeded")
	}
	if got := names(t, s); !slices.Equal(got, []string{"n001", "n005"}) {
		t.Errorf("%v, want what did not fail", got)
	}
}

func TestEnqueue_CloseAnswersEverybody(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var wg sync.WaitGroup
	acknowledged := make([]bool, 200)
	for n := range acknowledged {
		wg.Go(func() {
			err := s.Enqueue(func(tx *store.Tx) error { return tx.AddAlias(alias(n)) }).Wait()
			if err != nil && !errors.Is(err, store.ErrClosed) {
				t.Error(err)
			}
			acknowledged[n] = err == nil
		})
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if err := s.Enqueue(func(*store.Tx) error { return nil }).Wait(); !errors.Is(err, store.ErrClosed) {
		t.Errorf("after Close: %v, want ErrClosed", err)
	}
	got := names(t, open(t, dir))
	for n, want := range acknowledged {
		if slices.Contains(got, alias(n).Name) != want {
			t.Errorf("change %d: acknowledged %v, there %v", n, want, !want)
		}
	}
}

// BenchmarkCommit compares one flush for each change with shared ones.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 100} {
		b.Run(fmt.Sprintf("enqueue/writers=%d", writers), func(b *testing.B) {
			s, err := store.Open(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			b.SetParallelism(writers)
			b.RunParallel(func(pb *testing.PB) {
				for n := byte(0); pb.Next(); n++ {
					if err := s.Enqueue(func(tx *store.Tx) error {
						_, err := tx.PutEntry(store.Shared, id.ID{n}, store.Entry{Key: []byte{n}, Value: []byte("value")})
						return err
					}).Wait(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
