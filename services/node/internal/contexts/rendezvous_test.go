package contexts_test

import (
	"crypto/rand"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/testapp"
)

// barrier is a source of random bytes that keeps everybody who reads from it until a number of readers are inside.
type barrier struct {
	mu     sync.Mutex
	inside int
	want   int
	all    chan struct{} // closed when they are
	late   <-chan time.Time
}

var errAlone = errors.New("nobody else came")

func (b *barrier) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.inside++; b.inside == b.want {
		close(b.all)
	}
	b.mu.Unlock()
	select {
	case <-b.all:
		return rand.Read(p)
	case <-b.late:
		return 0, errAlone
	}
}

// Calls of different contexts run at the same time: each of these ends only when all of them are in the middle of their
// method. With one lock around what executes, or around what an application asks its host, none would.
func TestExecute_ContextsRunAtTheSameTime(t *testing.T) {
	const count = 20
	late := time.NewTimer(2 * time.Minute)
	defer late.Stop()
	b := &barrier{want: count, all: make(chan struct{}), late: late.C}
	f := openWith(t, t.TempDir(), setup{limit: 5 * time.Minute, random: b})
	f.install(other, testapp.KVStore, "3.0.0")
	var made []id.ID
	for range count {
		made = append(made, f.makeOf(other).Context)
	}
	var wg sync.WaitGroup
	for _, c := range made {
		wg.Go(func() {
			if out, err := f.call(c, "random", ""); err != nil || out == "" {
				t.Errorf("a call that meets the others: %q, %v", out, err)
			}
		})
	}
	wg.Wait()
}
