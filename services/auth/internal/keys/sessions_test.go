package keys_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/keys"
	"github.com/calimero-network/mero-go/services/auth/internal/login"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// begin stores another session of a key.
func (f *fixture) begin(t *testing.T, g login.Grant) (store.Family, *gate.Session) {
	t.Helper()
	family := f.Issuer.Begin(g)
	f.update(t, func(tx *store.Tx) error { return tx.CreateFamily(family) })
	pair, err := f.Issuer.Sign(family)
	if err != nil {
		t.Fatal(err)
	}
	return family, f.session(t, pair)
}

func families(list []keys.Session) []string {
	ids := make([]string, 0, len(list))
	for _, s := range list {
		ids = append(ids, s.ID)
	}
	return ids
}

func TestSessions(t *testing.T) {
	onEachBackend(t, func(t *testing.T, f *fixture) {
		f.Store.Limits = store.Limits{Idle: time.Hour, Age: 24 * time.Hour}
		admin := f.root(t, "admin", "admin")
		f.clock.advance(time.Minute)
		second, _ := f.begin(t, login.Grant{
			Key: "admin", Permissions: []string{"admin"}, ClientName: "https://app.example/x", Peer: "192.0.2.0", NodeURL: "https://node.example",
		})
		f.clock.advance(time.Minute)
		machine, _ := f.begin(t, login.Grant{Key: "admin", Permissions: []string{"admin"}, Machine: 10 * 24 * time.Hour})
		_, ended := f.begin(t, login.Grant{Key: "admin", Permissions: []string{"admin"}})
		if err := f.Revoke(t.Context(), ended, ""); err != nil {
			t.Fatal(err)
		}
		f.begin(t, login.Grant{Key: f.root(t, "other", "admin").KeyID, Permissions: []string{"admin"}})
		list, next, err := f.Sessions(t.Context(), admin, "admin", keys.Page{})
		if err != nil || next != "" || !slices.Equal(families(list), []string{machine.ID, second.ID, admin.Family}) {
			t.Fatalf("Sessions = %+v, %q, %v, want the newest first", list, next, err)
		}
		at := start.Unix()
		for i, want := range []keys.Session{
			{LastUsed: at + 120, Expires: at + 120 + 10*86400},
			{LastUsed: at + 60, Expires: at + 60 + 86400, IdleEnd: at + 60 + 3600},
			{LastUsed: at, Expires: at + 86400, IdleEnd: at + 3600, Own: true},
		} {
			want.Family = list[i].Family
			if !reflect.DeepEqual(list[i], want) {
				t.Errorf("session %d: %+v, want %+v", i, list[i], want)
			}
		}
		if got := list[1]; got.ClientName != "https://app.example/x" || got.Peer != "192.0.2.0" || got.Current.NodeURL != "https://node.example" || got.Created != at+60 {
			t.Errorf("session %+v", got)
		}
		f.clock.advance(58*time.Minute + 30*time.Second) // the first one is idle, the others were used
		list, _, err = f.Sessions(t.Context(), admin, "admin", keys.Page{})
		if err != nil || !slices.Equal(families(list), []string{machine.ID, second.ID}) {
			t.Errorf("Sessions beside an idle one = %+v, %v", list, err)
		}
	})
}

func TestSessions_OfDeadKeys(t *testing.T) {
	f := inMemory(t)
	admin := f.root(t, "admin", "admin")
	root := f.root(t, "root", "admin")
	client := f.mint(t, root, "blob")
	revoked := f.mint(t, root, "blob")
	if _, err := f.RevokeClient(t.Context(), admin, "root", revoked.KeyID); err != nil {
		t.Fatal(err)
	}
	count := func(id string) int {
		t.Helper()
		list, _, err := f.Sessions(t.Context(), admin, id, keys.Page{})
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	if count(client.KeyID) != 1 || count(revoked.KeyID) != 0 {
		t.Error("the sessions are not those of the live key")
	}
	end := start.Unix() + 100
	if _, err := f.Change(t.Context(), admin, "root", keys.Update{ExpiresAt: &end}); err != nil {
		t.Fatal(err)
	}
	list, _, err := f.Sessions(t.Context(), admin, client.KeyID, keys.Page{})
	if err != nil || len(list) != 1 || list[0].Expires != end {
		t.Errorf("sessions under a root key that expires: %+v, %v, want the end %d", list, err, end)
	}
	f.clock.advance(100 * time.Second)
	if count(client.KeyID) != 0 || count("root") != 0 {
		t.Error("sessions outlive their root key")
	}
}

func TestSessions_Pages(t *testing.T) {
	f := inMemory(t)
	admin := f.root(t, "admin", "admin")
	count := 1
	for i := range 24 {
		if i%3 == 0 { // three in one second
			f.clock.advance(time.Second)
		}
		f.begin(t, login.Grant{Key: "admin", Permissions: []string{"admin"}})
		count++
	}
	all, _, err := f.Sessions(t.Context(), admin, "admin", keys.Page{})
	if err != nil || len(all) != count {
		t.Fatalf("%d sessions, %v, want %d", len(all), err, count)
	}
	var got []string
	page := keys.Page{Limit: 4}
	for i := 0; ; i++ {
		list, next, err := f.Sessions(t.Context(), admin, "admin", page)
		if err != nil || len(list) > 4 {
			t.Fatalf("page %d: %d sessions, %v", i, len(list), err)
		}
		got = append(got, families(list)...)
		if i == 2 { // what comes and goes meanwhile
			f.clock.advance(time.Second)
			f.begin(t, login.Grant{Key: "admin", Permissions: []string{"admin"}})
			if _, err := f.EndSession(t.Context(), admin, "admin", list[len(list)-1].ID); err != nil {
				t.Fatal(err)
			}
		}
		if page.Cursor = next; next == "" {
			break
		}
	}
	if !slices.Equal(got, families(all)) {
		t.Errorf("the pages hold %q, want %q", got, families(all))
	}
	for _, cursor := range []string{"x", ".", "12", "a.b", "1e3.x", "-"} {
		_, _, err := f.Sessions(t.Context(), admin, "admin", keys.Page{Cursor: cursor})
		want(t, "cursor "+cursor, err, fault.Invalid, "", "cursor")
	}
}

// Everybody sees and ends the sessions of the own key, and of no other one without the right.
func TestSessions_OfWhom(t *testing.T) {
	f := inMemory(t)
	admin := f.root(t, "admin", "admin")
	lister, deleter := f.mint(t, admin, "keys:list"), f.mint(t, admin, "keys:delete")
	mine := f.mint(t, admin, "context:list")
	sibling := f.mint(t, admin, "context:list")
	for name, tt := range map[string]struct {
		caller  *gate.Session
		id      string
		see     bool
		endable bool
	}{
		"own key":                        {mine, mine.KeyID, true, true},
		"another key":                    {mine, sibling.KeyID, false, false},
		"the root above":                 {mine, "admin", false, false},
		"a key that is not there":        {mine, "nobody", false, false},
		"another key, keys:list":         {lister, sibling.KeyID, true, false},
		"another key, keys:delete":       {deleter, sibling.KeyID, false, true},
		"another key, admin":             {admin, sibling.KeyID, true, true},
		"own key, with keys:list":        {lister, lister.KeyID, true, true},
		"case of an id is part of an id": {mine, "ADMIN", false, false},
	} {
		_, _, err := f.Sessions(t.Context(), tt.caller, tt.id, keys.Page{})
		if tt.see != (err == nil) || (!tt.see && fault.ReasonOf(err) != identity.PermissionDenied) {
			t.Errorf("%s: Sessions: %v, want allowed %t", name, err, tt.see)
		}
		_, err = f.EndSession(t.Context(), tt.caller, tt.id, "no-such-session")
		if tt.endable != (fault.CodeOf(err) == fault.NotFound) || (!tt.endable && fault.ReasonOf(err) != identity.PermissionDenied) {
			t.Errorf("%s: EndSession: %v, want allowed %t", name, err, tt.endable)
		}
	}
	_, _, err := f.Sessions(t.Context(), admin, "nobody", keys.Page{})
	want(t, "a key that is not there", err, fault.NotFound, "", "Key not found")
}

func TestEndSession(t *testing.T) {
	f := inMemory(t)
	admin := f.root(t, "admin", "admin")
	mine := f.mint(t, admin, "context:list")
	family, second := f.begin(t, login.Grant{Key: mine.KeyID, Permissions: []string{"context:list"}})
	f.clock.advance(time.Minute)
	at, err := f.EndSession(t.Context(), mine, mine.KeyID, family.ID)
	if err != nil || at.Unix() != start.Unix()+60 {
		t.Fatalf("EndSession = %v, %v", at, err)
	}
	_, err = f.EndSession(t.Context(), mine, mine.KeyID, family.ID)
	want(t, "ended already", err, fault.NotFound, "", "Session not found")
	_, err = f.EndSession(t.Context(), second, mine.KeyID, mine.Family)
	want(t, "by a session that has ended", err, fault.Forbidden, identity.TokenRevoked, "revoked")
	// The family must be one of the key in the path, so that the own key opens no other key's sessions.
	_, err = f.EndSession(t.Context(), mine, mine.KeyID, admin.Family)
	want(t, "another key's session under the own key", err, fault.NotFound, "", "Session not found")
	list, _, err := f.Sessions(t.Context(), mine, mine.KeyID, keys.Page{})
	if err != nil || !slices.Equal(families(list), []string{mine.Family}) {
		t.Errorf("left: %+v, %v", list, err)
	}
	if _, err := f.EndSession(t.Context(), mine, mine.KeyID, mine.Family); err != nil {
		t.Errorf("the session that asks: %v", err)
	}
	_, err = f.CreateClient(t.Context(), admin, keys.ClientRequest{})
	if err != nil {
		t.Errorf("another key's session was ended: %v", err)
	}
}
