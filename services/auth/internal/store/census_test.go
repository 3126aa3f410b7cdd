package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

func TestCensus(t *testing.T) {
	db := memory.New()
	s, err := store.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	in := func(d time.Duration) int64 { return now.Add(d).Unix() }
	family := func(id, key string, access, refresh int64) store.Family {
		return store.Family{ID: id, Key: key, Current: store.Generation{AccessExpiry: access, RefreshExpiry: refresh, Permissions: []string{"admin"}}}
	}
	err = s.Update(t.Context(), func(tx *store.Tx) error {
		var errs []error
		for _, k := range []store.Key{
			{ID: "0live", Type: store.Root},
			{ID: "Zrevoked", Type: store.Root, RevokedAt: in(-time.Hour)},
			{ID: "_expired", Type: store.Root, ExpiresAt: in(-time.Second)},
			{ID: "-later", Type: store.Root, ExpiresAt: in(time.Second)},
			{ID: "client", Type: store.Client, RootKeyID: "0live"},
			{ID: "Client2", Type: store.Client, RootKeyID: "0live", ExpiresAt: in(time.Hour)},
			{ID: "9gone", Type: store.Client, RootKeyID: "0live", RevokedAt: in(-1)},
			{ID: "orphan", Type: store.Client, RootKeyID: "Zrevoked"},
		} {
			errs = append(errs, tx.CreateKey(k, []string{"admin"}))
		}
		ended := family("ended", "0live", in(time.Hour), in(time.Hour))
		ended.RevokedAt = in(-1)
		for _, f := range []store.Family{
			family("a", "0live", in(-time.Hour), in(time.Hour)),
			family("b", "client", in(time.Hour), 0),
			{ID: "d", Key: "0live", ClientName: `"revoked_at":1,"access_exp":9999999999`, Current: store.Generation{AccessExpiry: in(time.Hour)}},
			{ID: "e", Key: "0live", ClientName: `"revoked_at":0,"access_exp":9999999999`, Current: store.Generation{AccessExpiry: in(-time.Hour)}},
			family("c", "0live", in(-time.Hour), in(-time.Minute)),
			ended,
		} {
			errs = append(errs, tx.CreateFamily(f))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Census(t.Context(), now)
	if want := (store.Census{RootKeys: 2, ClientKeys: 2, Sessions: 3}); err != nil || got != want {
		t.Errorf("Census = %+v, %v, want %+v", got, err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Census(ctx, now); !errors.Is(err, context.Canceled) {
		t.Errorf("a census nobody waits for: %v", err)
	}
}
