package secret_test

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
)

// running starts Run in a synctest bubble on a store that can fail, and stops it with the test.
func running(t *testing.T, now func() time.Time) (*secret.Keyring, *failing, *bytes.Buffer) {
	t.Helper()
	db, log := &failing{DB: memory.New(), left: 1 << 20}, new(bytes.Buffer)
	k, err := secret.Open(t.Context(), db, sealer(t, 0), secret.Options{Now: now, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- k.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v after the end of its context", err)
		}
	})
	return k, db, log
}

// after lets the time pass and everybody act on it.
func after(d time.Duration) {
	time.Sleep(d) // of the bubble's clock
	synctest.Wait()
}

func TestRun_RotatesWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, _, _ := running(t, time.Now)
		first := signing(k)
		after(day - time.Second)
		if got := signing(k); !slices.Equal(got, first) {
			t.Error("rotated before the time")
		}
		after(time.Second)
		second := signing(k)
		for i, id := range second {
			if id == first[i] {
				t.Errorf("%s is not rotated after 24 h", kinds[i])
			}
		}
		// A rotation by hand starts the day anew, for its kind alone.
		after(day / 2)
		if err := k.Rotate(t.Context(), secret.Access, false); err != nil {
			t.Fatal(err)
		}
		byHand := k.Signing(secret.Access).ID
		after(day / 2)
		if got := k.Signing(secret.Access).ID; got != byHand {
			t.Error("the secret rotated by hand is rotated again after half a day")
		}
		if got := k.Signing(secret.Refresh).ID; got == second[1] {
			t.Error("the other kinds are not rotated")
		}
		after(day / 2)
		if got := k.Signing(secret.Access).ID; got == byHand {
			t.Error("the secret rotated by hand is never rotated again")
		}
	})
}

func TestRun_FailedRotationIsLoggedAndRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, db, log := running(t, time.Now)
		first := signing(k)
		after(day - time.Second)
		db.failCommits(errDisk)
		after(time.Minute)
		if got := signing(k); !slices.Equal(got, first) {
			t.Error("memory has secrets that the store does not have")
		}
		if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), errDisk.Error()) {
			t.Errorf("log = %q, want the failure", log)
		}
		db.failCommits(nil)
		after(time.Minute)
		if got := signing(k); slices.Equal(got, first) {
			t.Error("the rotation is not repeated")
		}
	})
}

// TestRun_FollowsAClockThatIsSet: timers run on, but the day is over when the clock says so.
func TestRun_FollowsAClockThatIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var offset atomic.Int64
		k, _, _ := running(t, func() time.Time { return time.Now().Add(time.Duration(offset.Load())) })
		first := signing(k)
		after(time.Hour)
		offset.Store(int64(30 * day))
		after(15 * time.Minute)
		second := signing(k)
		if slices.Equal(second, first) {
			t.Error("not rotated within 15 minutes of a jump forwards")
		}
		offset.Store(0) // the secrets are now from the future
		after(15 * time.Minute)
		third := signing(k)
		if slices.Equal(third, second) {
			t.Error("secrets from the future are not replaced")
		}
		offset.Store(-int64(time.Hour)) // a small step back is no reason
		after(time.Hour)
		if got := signing(k); !slices.Equal(got, third) {
			t.Error("rotated after a small step back")
		}
	})
}
