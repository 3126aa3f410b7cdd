package metrics

import (
	"context"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
)

// Time returns db with its transactions timed by now. What a function refuses is no failure of the store.
func (m *Metrics) Time(db kv.DB, now func() time.Time) kv.DB { return timed{db, m, now} }

type timed struct {
	kv.DB
	m   *Metrics
	now func() time.Time
}

func (t timed) View(ctx context.Context, fn func(kv.Tx) error) error {
	return t.time(ctx, false, t.DB.View, fn)
}

func (t timed) Update(ctx context.Context, fn func(kv.Tx) error) error {
	return t.time(ctx, true, t.DB.Update, fn)
}

func (t timed) time(
	ctx context.Context, writes bool, run func(context.Context, func(kv.Tx) error) error, fn func(kv.Tx) error,
) error {
	started, refused := t.now(), false
	err := run(ctx, func(tx kv.Tx) error {
		err := fn(tx)
		refused = err != nil
		return err
	})
	t.m.Stored(writes, t.now().Sub(started), err != nil && !refused)
	return err
}
