package group_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/node/internal/group"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// app is the installed application, code its blob.
var app, code = id.ID{7}, id.ID{8}

func service(t *testing.T) *group.Service {
	t.Helper()
	db, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.AddBlob(store.Blob{ID: code}, nil)
		return errors.Join(err, tx.PutApplication(store.Application{ID: app, Blob: code, Wasm: code, Version: "1.2.3"}, nil))
	}); err != nil {
		t.Fatal(err)
	}
	return &group.Service{Store: db, Rand: rand.Reader, Now: func() time.Time { return time.Unix(1000, 0) }}
}

func TestNamespaces(t *testing.T) {
	s, ctx := service(t), t.Context()
	if _, err := s.Account(ctx); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("account before the first namespace: %v", err)
	}
	first, err := s.Create(ctx, store.Group{Application: app, Name: "first"})
	if err != nil {
		t.Fatal(err)
	}
	account, err := s.Account(ctx)
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Create(ctx, store.Group{ID: id.ID{1}, Application: app, AppKey: id.ID{2}})
	if err != nil || second != (id.ID{1}) {
		t.Fatalf("a namespace with an id of its own: %v, %v", second, err)
	}
	if again, err := s.Account(ctx); err != nil || again != account {
		t.Errorf("the second namespace changed the account: %v, %v", again, err)
	}
	for _, g := range []id.ID{first, second} {
		members, self, err := s.Members(ctx, g)
		if err != nil || self != account || len(members) != 1 || members[0].Key != account || members[0].Role != "Admin" {
			t.Errorf("members: %+v %v %v", members, self, err)
		}
	}
	got, err := s.Get(ctx, first)
	if err != nil || got.Name != "first" || got.Created != 1000 || got.Members != 1 || got.Contexts != 0 || got.AppKey != code || got.AppVersion != "1.2.3" {
		t.Errorf("%+v, %v", got, err)
	}
	if list, err := s.List(ctx, func(g store.Group) bool { return g.ID == second }); err != nil || len(list) != 1 || list[0].ID != second {
		t.Errorf("list: %+v, %v", list, err)
	}
	if err := s.Store.Update(ctx, func(tx *store.Tx) error {
		return tx.PutContext(store.Context{ID: id.ID{9}, Group: group.Format(first)})
	}); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		err  error
		want fault.Code
	}{
		"create again":      {func() error { _, err := s.Create(ctx, store.Group{ID: first, Application: app}); return err }(), fault.Conflict},
		"of no application": {func() error { _, err := s.Create(ctx, store.Group{Application: id.ID{99}, AppKey: code}); return err }(), fault.NotFound},
		"delete in use":     {s.Delete(ctx, first), fault.Conflict},
		"delete unknown":    {s.Delete(ctx, id.ID{99}), fault.NotFound},
		"get unknown":       {func() error { _, err := s.Get(ctx, id.ID{99}); return err }(), fault.NotFound},
		"members of none":   {func() error { _, _, err := s.Members(ctx, id.ID{99}); return err }(), fault.NotFound},
		"delete the second": {s.Delete(ctx, second), ""},
	} {
		if got := fault.CodeOf(tt.err); got != tt.want {
			t.Errorf("%s: %v, want %q", name, tt.err, tt.want)
		}
	}
}

func TestStateHash_ChangesWithTheRecords(t *testing.T) {
	members := []store.Member{{Key: id.ID{1}, Role: "Admin"}}
	base := group.StateHash(group.Summary{}, members)
	for name, other := range map[string]string{
		"name":   group.StateHash(group.Summary{Group: store.Group{Name: "x"}}, members),
		"member": group.StateHash(group.Summary{}, append(members, store.Member{Key: id.ID{2}})),
		"role":   group.StateHash(group.Summary{}, []store.Member{{Key: id.ID{1}, Role: "Member"}}),
	} {
		if other == base {
			t.Errorf("%s does not change the hash", name)
		}
	}
	if again := group.StateHash(group.Summary{}, members); again != base || len(base) != 64 {
		t.Errorf("%s, then %s", base, again)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "00", group.Format(id.ID{1}), group.Format(id.ID(bytes.Repeat([]byte{0xff}, 32))), "AB" + group.Format(id.ID{})[2:]} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		g, err := group.Parse(s)
		if err == nil && group.Format(g) != s {
			t.Errorf("%q reads as %q", s, group.Format(g))
		}
		if err != nil && fault.CodeOf(err) != fault.Invalid {
			t.Errorf("%q: %v", s, err)
		}
	})
}
