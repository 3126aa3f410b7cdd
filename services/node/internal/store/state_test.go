package store_test

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

func put(t *testing.T, s *store.Store, space store.Space, context id.ID, key, value string) (grown int64) {
	t.Helper()
	update(t, s, func(tx *store.Tx) (err error) {
		grown, err = tx.PutEntry(space, context, store.Entry{Key: []byte(key), Value: []byte(value)})
		return err
	})
	return grown
}

func TestEntries_AreKeptApartAndCounted(t *testing.T) {
	s := open(t, t.TempDir())
	a, b := id.ID{1}, id.ID{2}
	for _, tt := range []struct {
		space      store.Space
		context    id.ID
		key, value string
		want       int64
	}{
		{store.Shared, a, "k", "one", 4},
		{store.Shared, a, "k", "three", 2},
		{store.Shared, a, "", "empty key", 9},
		{store.Shared, a, "kk", "", 2},
		{store.Shared, b, "k", "of b", 5},
		{store.Private, a, "k", "private", 8},
	} {
		if got := put(t, s, tt.space, tt.context, tt.key, tt.value); got != tt.want {
			t.Errorf("put %q %q: grown by %d, want %d", tt.key, tt.value, got, tt.want)
		}
	}
	view(t, s, func(tx *store.Tx) error {
		var got []string
		for e := range tx.Entries(store.Shared, a, nil) {
			got = append(got, string(e.Key)+"="+string(e.Value))
		}
		if !slices.Equal(got, []string{"=empty key", "k=three", "kk="}) {
			t.Errorf("entries: %q", got)
		}
		for e := range tx.Entries(store.Shared, a, []byte("kk")) {
			if string(e.Key) != "kk" {
				t.Errorf("from kk: %q", e.Key)
			}
		}
		if v, found := tx.Entry(store.Shared, a, []byte("kk")); !found || v == nil || len(v) != 0 {
			t.Errorf("the empty value reads as %v, %v", v, found)
		}
		if _, found := tx.Entry(store.Private, b, []byte("k")); found {
			t.Error("an entry of another context is found")
		}
		return nil
	})
	update(t, s, func(tx *store.Tx) error {
		gone, err := tx.RemoveEntry(store.Shared, a, []byte("k"))
		again, errAgain := tx.RemoveEntry(store.Shared, a, []byte("k"))
		if gone != -6 || again != 0 {
			t.Errorf("removed: %d, again %d, want -6, 0", gone, again)
		}
		return errors.Join(err, errAgain)
	})
}

func TestDelta_RoundTrip(t *testing.T) {
	s := open(t, t.TempDir())
	d := store.Delta{
		Context: id.ID{1}, ID: id.ID{2}, Parents: []id.ID{{3}, {4}}, Seq: 7, Kind: store.CallDelta, Root: id.ID{5}, Author: id.ID{6},
		Application: id.ID{8}, Time: 1 << 60, Artifact: []byte("artifact"),
	}
	other := store.Delta{Context: id.ID{2}, ID: id.ID{2}, Parents: []id.ID{{}}}
	update(t, s, func(tx *store.Tx) error {
		size, err := tx.AddDelta(d)
		if size < int64(len(d.Artifact)+64) {
			t.Errorf("size %d", size)
		}
		_, otherErr := tx.AddDelta(other)
		return errors.Join(err, otherErr)
	})
	err := s.Update(t.Context(), func(tx *store.Tx) error { _, err := tx.AddDelta(d); return err })
	if !errors.Is(err, store.ErrExists) {
		t.Errorf("the same delta again: %v, want ErrExists", err)
	}
	view(t, s, func(tx *store.Tx) error {
		if got, err := tx.Delta(d.Context, d.ID); err != nil || !reflect.DeepEqual(got, d) {
			t.Errorf("%+v, %v, want %+v", got, err, d)
		}
		if _, err := tx.Delta(d.Context, id.ID{9}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("unknown: %v", err)
		}
		n := 0
		for got, err := range tx.Deltas(d.Context) {
			if n++; err != nil || got.ID != d.ID {
				t.Errorf("%v, %v", got.ID, err)
			}
		}
		if n != 1 {
			t.Errorf("%d deltas, want those of the context only", n)
		}
		return nil
	})
}

func TestRemoveContext_TakesEverythingAlongAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	group := id.ID{0xaa}
	gone := store.Context{ID: id.ID{1}, Group: "aa" + "00000000000000000000000000000000000000000000000000000000000000"}
	stays := store.Context{ID: id.ID{2}, Group: gone.Group}
	fill := func(tx *store.Tx, c id.ID) error {
		var errs []error
		for n := range 2500 { // more than one step of the sweep
			_, err := tx.PutEntry(store.Shared, c, store.Entry{Key: []byte{byte(n), byte(n >> 8)}, Value: []byte("v")})
			errs = append(errs, err)
		}
		_, private := tx.PutEntry(store.Private, c, store.Entry{Key: []byte("k")})
		_, delta := tx.AddDelta(store.Delta{Context: c, ID: id.ID{9}})
		return errors.Join(append(errs, private, delta,
			tx.PutIdentity(store.Identity{Context: c, PublicKey: id.ID{7}}),
			tx.AddAlias(store.Alias{Kind: store.IdentityAlias, Scope: c, Name: "ann", Target: id.ID{7}}),
			tx.AddAlias(store.Alias{Kind: store.ContextAlias, Name: c.String()[:5], Target: c}))...)
	}
	update(t, s, func(tx *store.Tx) error {
		return errors.Join(tx.AddGroup(store.Group{ID: group}), tx.PutContext(gone), tx.PutContext(stays), fill(tx, gone.ID), fill(tx, stays.ID))
	})
	update(t, s, func(tx *store.Tx) error { return tx.RemoveContext(gone.ID) })
	if err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.RemoveContext(gone.ID) }); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("remove again: %v", err)
	}
	view(t, s, func(tx *store.Tx) error {
		if !tx.IsDeadContext(gone.ID) || tx.IsDeadContext(stays.ID) || !slices.Equal(tx.DeadContexts(), []id.ID{gone.ID}) {
			t.Errorf("dead: %v", tx.DeadContexts())
		}
		if got := tx.Grouped(group); !slices.Equal(got, []id.ID{stays.ID}) {
			t.Errorf("in the group: %v", got)
		}
		return nil
	})
	// A node that ends in between goes on with what is left.
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.SweepContext(ended, gone.ID); !errors.Is(err, context.Canceled) {
		t.Errorf("sweep: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if err := s.SweepContext(t.Context(), gone.ID); err != nil {
		t.Error(err)
	}
	view(t, s, func(tx *store.Tx) error {
		for _, c := range []id.ID{gone.ID, stays.ID} {
			entries, deltas := 0, 0
			for range tx.Entries(store.Shared, c, nil) {
				entries++
			}
			for range tx.Entries(store.Private, c, nil) {
				entries++
			}
			for _, err := range tx.Deltas(c) {
				if deltas++; err != nil {
					return err
				}
			}
			members, err := tx.Identities(c)
			_, name := tx.Alias(store.ContextAlias, id.ID{}, c.String()[:5])
			_, ann := tx.Alias(store.IdentityAlias, c, "ann")
			left := entries + deltas + len(members)
			switch {
			case err != nil:
				return err
			case c == gone.ID && (left != 0 || !errors.Is(name, store.ErrNotFound) || !errors.Is(ann, store.ErrNotFound)):
				t.Errorf("left of the removed one: %d records, aliases %v %v", left, name, ann)
			case c == stays.ID && (left != 2503 || name != nil || ann != nil):
				t.Errorf("left of the other one: %d records, aliases %v %v", left, name, ann)
			}
		}
		if len(tx.DeadContexts()) > 0 {
			t.Errorf("still dead: %v", tx.DeadContexts())
		}
		return nil
	})
}

func TestGroups(t *testing.T) {
	s := open(t, t.TempDir())
	g := store.Group{ID: id.ID{1}, AppKey: id.ID{2}, Application: id.ID{3}, Name: "n", Created: 5}
	m := store.Member{Group: g.ID, Key: id.ID{7}, Role: "Admin", Capabilities: 3}
	in := store.Context{ID: id.ID{9}, Group: "01" + "00000000000000000000000000000000000000000000000000000000000000"}
	update(t, s, func(tx *store.Tx) error {
		if _, err := tx.Account(); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("account of an empty store: %v", err)
		}
		key := bytes.Repeat([]byte{1}, 64)
		return errors.Join(tx.AddGroup(g), tx.PutMember(m), tx.PutContext(in), tx.PutAccount(key))
	})
	for name, tt := range map[string]struct {
		fn   func(tx *store.Tx) error
		want error
	}{
		"same id":  {func(tx *store.Tx) error { return tx.AddGroup(g) }, store.ErrExists},
		"in use":   {func(tx *store.Tx) error { return tx.RemoveGroup(g.ID) }, store.ErrInUse},
		"not here": {func(tx *store.Tx) error { return tx.RemoveGroup(id.ID{8}) }, store.ErrNotFound},
	} {
		if err := s.Update(t.Context(), tt.fn); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	view(t, s, func(tx *store.Tx) error {
		got, err := tx.Group(g.ID)
		members, membersErr := tx.Members(g.ID)
		if got != g || !slices.Equal(members, []store.Member{m}) || tx.CountGrouped(g.ID) != 1 {
			t.Errorf("%+v %+v %v", got, members, err)
		}
		return errors.Join(err, membersErr)
	})
	update(t, s, func(tx *store.Tx) error { return errors.Join(tx.RemoveContext(in.ID), tx.RemoveGroup(g.ID)) })
	view(t, s, func(tx *store.Tx) error {
		members, err := tx.Members(g.ID)
		if len(members) > 0 {
			t.Errorf("members of a removed group: %v", members)
		}
		return err
	})
	for _, text := range []string{"", "ab", "AB" + in.Group[2:], in.Group + "00", "zz" + in.Group[2:]} {
		if _, err := store.ParseGroupID(text); err == nil {
			t.Errorf("ParseGroupID(%q) succeeds", text)
		}
	}
}
