package health_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/health"
)

func TestStatus(t *testing.T) {
	var readErr, writeErr error
	writes := 0
	now := time.Unix(1_800_000_000, 0)
	n := health.New(func(context.Context) error { return readErr },
		func(ctx context.Context) error { writes++; return errors.Join(ctx.Err(), writeErr) }, func() time.Time { return now })
	expect := func(want health.Status, wantWrites int) {
		t.Helper()
		if got := n.Status(t.Context()); got != want || writes != wantWrites {
			t.Errorf("Status = %s after %d writes, want %s after %d", got, writes, want, wantWrites)
		}
	}
	expect(health.Starting, 0)
	n.Set(health.Ready)
	expect(health.Ready, 1)
	writeErr = errors.New("disk full")
	expect(health.Ready, 1) // the verdict of this second
	now = now.Add(time.Second)
	expect(health.StoreUnavailable, 2)
	writeErr = nil
	expect(health.StoreUnavailable, 2)
	now = now.Add(-time.Hour) // the clock was set back
	expect(health.Ready, 3)
	n.Set(health.ShuttingDown)
	now = now.Add(time.Hour)
	expect(health.ShuttingDown, 3)

	if !n.Alive(t.Context()) {
		t.Error("a node that stops is not alive")
	}
	readErr = errors.New("gone")
	if n.Alive(t.Context()) {
		t.Error("alive without a store")
	}
}

func TestStatus_LeavingProberDoesNotSpoilTheVerdict(t *testing.T) {
	n := health.New(nil, func(ctx context.Context) error { return ctx.Err() }, time.Now)
	n.Set(health.Ready)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := n.Status(ctx); got != health.Ready {
		t.Errorf("got %s", got)
	}
}
