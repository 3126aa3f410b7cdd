package kvtest

import (
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
)

var closeTests = []test{
	{"use after Close", testUseAfterClose},
	{"Close waits for a view", testCloseWaitsForView},
	{"Close waits for an update", testCloseWaitsForUpdate},
	{"Close against a crowd", testCloseAgainstCrowd},
}

func wantClosed(t *testing.T, db kv.DB) {
	t.Helper()
	ran := false
	fn := func(kv.Tx) error {
		ran = true
		return nil
	}
	if err := db.View(t.Context(), fn); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("View after Close = %v, want ErrClosed", err)
	}
	if err := db.Update(t.Context(), fn); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("Update after Close = %v, want ErrClosed", err)
	}
	if err := db.Close(); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("Close after Close = %v, want ErrClosed", err)
	}
	if ran {
		t.Error("a function ran after Close")
	}
}

func testUseAfterClose(t *testing.T, db kv.DB) {
	put(t, db, "b", pair{"k", "v"})
	if err := db.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	wantClosed(t, db)
}

// yield gives a Close that does not wait every chance to do its damage.
func yield() {
	for range 1000 {
		runtime.Gosched()
	}
}

func testCloseWaitsForView(t *testing.T, db kv.DB) {
	put(t, db, "b", pair{"k", "v"})
	calling, result := make(chan struct{}), make(chan error, 1)
	ended := false
	view(t, db, func(tx kv.Tx) error {
		go func() {
			close(calling)
			err := db.Close()
			if !ended {
				t.Error("Close returned while a view was running")
			}
			result <- err
		}()
		<-calling
		yield()
		v, err := tx.Get("b", "k")
		if string(v) != "v" {
			t.Errorf("Get while Close waits = %q, %v", v, err)
		}
		ended = true
		return err
	})
	if err := <-result; err != nil {
		t.Errorf("Close: %v", err)
	}
	wantClosed(t, db)
}

func testCloseWaitsForUpdate(t *testing.T, db kv.DB) {
	calling, result := make(chan struct{}), make(chan error, 1)
	ended := false
	update(t, db, func(tx kv.Tx) error {
		go func() {
			close(calling)
			err := db.Close()
			if !ended {
				t.Error("Close returned while an update was running")
			}
			result <- err
		}()
		<-calling
		yield()
		err := tx.Put("b", "k", []byte("v"))
		ended = true
		return err
	})
	if err := <-result; err != nil {
		t.Errorf("Close: %v", err)
	}
	wantClosed(t, db)
}

// testCloseAgainstCrowd closes under load: every call either works or answers ErrClosed, and nobody hangs.
func testCloseAgainstCrowd(t *testing.T, db kv.DB) {
	var once sync.Once
	together(32, func(i int) {
		for n := range 20 {
			if i == 0 && n == 5 {
				once.Do(func() {
					if err := db.Close(); err != nil {
						t.Errorf("Close: %v", err)
					}
				})
			}
			uerr := db.Update(t.Context(), func(tx kv.Tx) error { return increment(tx, "n") })
			verr := db.View(t.Context(), func(tx kv.Tx) error {
				_, err := counter(tx, "b", "n")
				return err
			})
			for _, err := range []error{uerr, verr} {
				if err != nil && !errors.Is(err, kv.ErrClosed) {
					t.Errorf("call %d of goroutine %d = %v, want nil or ErrClosed", n, i, err)
				}
			}
		}
	})
	wantClosed(t, db)
}
