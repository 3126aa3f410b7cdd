package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

func TestSessionsEndpoint(t *testing.T) {
	a := startAPI(t)
	first := a.logIn(t, "alice")
	me := parse(t, first.Access)
	a.advance(time.Minute)
	body := a.loginBody("alice")
	body["client_name"] = "http://" + a.addr + "/x?secret=1#token=2"
	var second tokens
	a.call(t, "POST", "/auth/token", "", body).data(t, &second)
	var machine tokens
	a.call(t, "POST", "/admin/client-key", first.Access, map[string]any{"permissions": []string{"blob"}, "expires_in": 3600}).data(t, &machine)
	now := float64(apiStart.Unix())
	path := "/admin/keys/" + me.Sub + "/sessions"
	want := []map[string]any{
		{
			"family": parse(t, second.Access).Fam, "key_id": me.Sub, "created_at": now + 60, "last_refresh": nil, "last_used_at": now + 60,
			"expires_at": now + 60 + 30*86400, "idle_expires_at": nil, "client_name": "http://" + a.addr + "/x", "node_url": "http://" + a.addr,
			"peer": "127.0.0.1", "machine": false, "current": false,
		},
		{
			"family": me.Fam, "key_id": me.Sub, "created_at": now, "last_refresh": nil, "last_used_at": now + 60,
			"expires_at": now + 30*86400, "idle_expires_at": nil, "client_name": "mero-js-sdk", "node_url": "", "peer": "127.0.0.1",
			"machine": false, "current": true,
		},
	}
	var got []map[string]any
	if a.call(t, "GET", path, first.Access, nil).data(t, &got); !reflect.DeepEqual(got, want) {
		t.Errorf("sessions %v, want %v", got, want)
	}
	worker := parse(t, machine.Access)
	if a.call(t, "GET", "/admin/keys/"+worker.Sub+"/sessions", machine.Access, nil).data(t, &got); len(got) != 1 || got[0]["machine"] != true || got[0]["current"] != true {
		t.Errorf("the machine's own sessions: %v", got)
	}
	if r := a.call(t, "GET", path, machine.Access, nil); r.status != 403 || r.header.Get("X-Auth-Error") != "permission_denied" {
		t.Errorf("the administrator's sessions for a machine: %d", r.status)
	}

	var ended map[string]any
	a.call(t, "DELETE", path+"/"+parse(t, second.Access).Fam, first.Access, nil).data(t, &ended)
	if wantEnded := map[string]any{
		"family": parse(t, second.Access).Fam, "revoked_at": now + 60, "status": true, "success": true, "message": "Session was ended",
	}; !reflect.DeepEqual(ended, wantEnded) {
		t.Errorf("DELETE: %v, want %v", ended, wantEnded)
	}
	for _, where := range []string{"/auth/validate", "/admin/identity"} {
		r := a.call(t, "GET", where, second.Access, nil)
		if r.header.Get("X-Auth-Error") != "token_revoked" {
			t.Errorf("%s with the ended session: %d %q", where, r.status, r.header.Get("X-Auth-Error"))
		}
	}
	if r := a.call(t, "GET", "/auth/validate", first.Access, nil); r.status != 200 {
		t.Errorf("the session that asked: %d", r.status)
	}
	for name, tt := range map[string]struct {
		path   string
		status int
	}{
		"again":              {path + "/" + parse(t, second.Access).Fam, 404},
		"unknown session":    {path + "/nobody", 404},
		"unknown key":        {"/admin/keys/nobody/sessions/" + me.Fam, 404},
		"session of another": {path + "/" + worker.Fam, 404},
	} {
		if r := a.call(t, "DELETE", tt.path, first.Access, nil); r.status != tt.status || r.message(t, name) != "Session not found" {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	if r := a.call(t, "GET", "/admin/keys/nobody/sessions", first.Access, nil); r.status != 404 || r.message(t, "unknown key") != "Key not found" {
		t.Errorf("sessions of an unknown key: %d %s", r.status, r.body)
	}
	a.advance(2 * time.Hour)
	a.refresh(t, first).data(t, &first)
	a.call(t, "GET", path, first.Access, nil).data(t, &got)
	if len(got) != 1 || got[0]["last_refresh"] != now+60+7200 || got[0]["last_used_at"] != now+60+7200 {
		t.Errorf("after a refresh: %v", got)
	}
}

// contract checks 24, 36, 37
func TestPermissionsEndpoint(t *testing.T) {
	a := startAPI(t)
	admin := a.logIn(t, "alice").Access
	client := a.mint(t, admin, "context:list", "blob")
	id := parse(t, client.Access).Sub
	path := "/admin/keys/" + id + "/permissions"
	get := func(token string) answer { return a.call(t, "GET", path, token, nil) }
	put := func(token, body string) answer { return a.call(t, "PUT", path, token, body) }
	list := func(what string, r answer, want ...string) {
		t.Helper()
		var got struct{ Permissions []string }
		if r.data(t, &got); !slices.Equal(got.Permissions, want) {
			t.Errorf("%s: %q, want %q", what, got.Permissions, want)
		}
	}
	list("GET", get(admin), "context:list", "blob")
	list("GET with the permission for this key", get(a.mint(t, admin, "keys:permissions:get["+id+"]").Access), "context:list", "blob")
	if r := get(a.mint(t, admin, "keys:permissions:get[other]").Access); r.status != 403 {
		t.Errorf("GET with the permission for another key: %d", r.status)
	}
	list("nothing to do", put(admin, `{"add":["blob"],"remove":["package"]}`), "context:list", "blob")
	list("narrowed", put(admin, `{"add":["context:create"],"remove":["blob"]}`), "context:list", "context:create")
	list("GET", get(admin), "context:list", "context:create")
	// Narrowed at once, widened with the next refresh.
	if r := a.call(t, "GET", "/auth/validate", client.Access, nil); r.header.Get("X-Auth-Permissions") != "context:list" {
		t.Errorf("validate after the change: %d %q", r.status, r.header.Get("X-Auth-Permissions"))
	}
	a.advance(time.Hour)
	a.refresh(t, client).data(t, &client)
	if c := parse(t, client.Access); !slices.Equal(c.Permissions, []string{"context:list", "context:create"}) {
		t.Errorf("refreshed: %q", c.Permissions)
	}
	admin = a.logIn(t, "alice").Access
	for name, tt := range map[string]struct {
		body    string
		status  int
		message string
	}{
		"all removed":          {`{"remove":["context:list","context:create"]}`, 400, "Key must have at least one permission"},
		"bad string":           {`{"add":["<i>"]}`, 400, "Invalid permission format: &lt;i&gt;"},
		"null in the list":     {`{"add":[null]}`, 400, "Invalid permission format"},
		"a text for a list":    {`{"add":"admin"}`, 400, "add"},
		"replacing":            {`{"permissions":["admin"]}`, 400, "add and remove"},
		"another member":       {`{"add":["blob"],"role":"admin"}`, 400, "add and remove"},
		"another spelling":     {`{"Add":["admin"]}`, 400, ""},
		"nothing":              {`{}`, 400, "add or remove"},
		"an array":             {`["admin"]`, 400, "Invalid JSON"},
		"null":                 {`null`, 400, "Invalid JSON"},
		"twice the same":       {`{"add":["blob"],"add":["admin"]}`, 400, "Invalid JSON"},
		"more than may be had": {`{"add":[` + strings.Repeat(`"blob",`, 64) + `"blob"]}`, 400, "more than 64"},
	} {
		before := a.digest(t)
		r := put(admin, tt.body)
		if got := r.message(t, name); r.status != tt.status || !strings.Contains(got, tt.message) {
			t.Errorf("%s: %d %q, want %d %q", name, r.status, got, tt.status, tt.message)
		}
		if a.digest(t) != before {
			t.Errorf("%s: something was stored", name)
		}
	}
	for what, token := range map[string]string{
		"itself": client.Access, "keys:permissions:update": a.mint(t, admin, "keys:permissions:update", "keys").Access,
	} {
		r := put(token, `{"add":["admin"]}`)
		if r.status != 403 || r.header.Get("X-Auth-Error") != "permission_denied" {
			t.Errorf("PUT with %s: %d %s", what, r.status, r.body)
		}
	}
	if r := a.call(t, "PUT", "/admin/keys/nobody/permissions", admin, `{"add":["blob"]}`); r.status != 404 || r.message(t, "unknown") != "Key not found" {
		t.Errorf("PUT of an unknown key: %d %s", r.status, r.body)
	}
	if r := a.call(t, "GET", "/admin/keys/nobody/permissions", admin, nil); r.status != 404 || r.message(t, "unknown") != "Key not found" {
		t.Errorf("GET of an unknown key: %d %s", r.status, r.body)
	}
}

// The last administrator keeps its rights on the paths that do not delete it, too, with the body that clients read.
func TestLastAdmin_PermissionsAndExpiry(t *testing.T) {
	a := startAPI(t)
	admin := a.logIn(t, "alice").Access
	id := parse(t, admin).Sub
	for text, r := range map[string]answer{
		"Cannot take admin from the last active root key": a.call(t, "PUT", "/admin/keys/"+id+"/permissions", admin, `{"add":["context:list"],"remove":["admin"]}`),
		"The last active root key cannot expire":          a.call(t, "PATCH", "/admin/keys/"+id, admin, map[string]any{"expires_at": apiStart.Unix() + 3600}),
	} {
		var got map[string]any
		r.json(t, &got)
		want := map[string]any{"data": map[string]any{"status": false, "success": false, "message": text}, "error": text}
		if r.status != http.StatusConflict || !reflect.DeepEqual(got, want) {
			t.Errorf("%d %s, want 409 with %v", r.status, r.body, want)
		}
	}
	if r := a.call(t, "GET", "/admin/keys", admin, nil); r.status != 200 {
		t.Errorf("the administrator: %d", r.status)
	}
}

func TestKeyEndpoint_NameAndExpiry(t *testing.T) {
	a := startAPI(t)
	admin := a.logIn(t, "alice").Access
	client := a.mint(t, admin, "context:list")
	path := "/admin/keys/" + parse(t, client.Access).Sub
	now := apiStart.Unix()
	patch := func(body string) (got map[string]any) {
		t.Helper()
		a.call(t, "PATCH", path, admin, body).data(t, &got)
		return got
	}
	if got := patch(`{"name":"build\u0000 server"}`); got["name"] != "build server" || got["expires_at"] != nil || got["client_id"] != parse(t, client.Access).Sub {
		t.Errorf("renamed: %v", got)
	}
	if got := patch(fmt.Sprintf(`{"expires_at":%d}`, now+60)); got["name"] != "build server" || got["expires_at"] != float64(now+60) {
		t.Errorf("with an end: %v", got)
	}
	if r := a.call(t, "GET", "/auth/validate", client.Access, nil); r.header.Get("X-Auth-Expires") != strconv.FormatInt(now+60, 10) {
		t.Errorf("X-Auth-Expires %q, want %d", r.header.Get("X-Auth-Expires"), now+60)
	}
	if got := patch(`{"expires_at":null,"name":null}`); got["name"] != "" || got["expires_at"] != nil {
		t.Errorf("without both: %v", got)
	}
	for name, body := range map[string]string{
		"nothing": `{}`, "null": `null`, "another member": `{"permissions":["admin"]}`, "name of a number": `{"name":1}`, "an end as text": `{"expires_at":"1"}`,
		"the past": fmt.Sprintf(`{"expires_at":%d}`, now), "zero": `{"expires_at":0}`, "below zero": `{"expires_at":-5}`, "a fraction": `{"expires_at":1.5}`,
		"long name": `{"name":"` + strings.Repeat("n", 129) + `"}`, "beyond all numbers": `{"expires_at":1e30}`,
	} {
		before := a.digest(t)
		if r := a.call(t, "PATCH", path, admin, body); r.status != 400 || r.message(t, name) == "" || a.digest(t) != before {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	if r := a.call(t, "PATCH", path, client.Access, `{"expires_at":null}`); r.status != 403 {
		t.Errorf("by the key itself: %d", r.status)
	}
	if r := a.call(t, "PATCH", "/admin/keys/nobody", admin, `{"name":"x"}`); r.status != 404 {
		t.Errorf("unknown: %d", r.status)
	}
}

func TestKeyLists_Pages(t *testing.T) {
	a := startAPI(t)
	admin := a.logIn(t, "alice").Access
	for range 7 {
		a.mint(t, admin, "blob")
	}
	type list struct {
		Data []map[string]any
		Next *string `json:"next_cursor"`
	}
	get := func(query string) (l list) {
		t.Helper()
		r := a.call(t, "GET", "/admin/keys/clients"+query, admin, nil)
		if r.json(t, &l); r.status != 200 {
			t.Fatalf("%s: %d %s", query, r.status, r.body)
		}
		return l
	}
	all := get("")
	if len(all.Data) != 7 || all.Next != nil {
		t.Fatalf("without a limit: %d keys, next %v", len(all.Data), all.Next)
	}
	var paged []map[string]any
	query := "?limit=3"
	for range 3 {
		l := get(query)
		paged = append(paged, l.Data...)
		if l.Next == nil {
			break
		}
		query = "?limit=3&cursor=" + *l.Next
	}
	if !reflect.DeepEqual(paged, all.Data) {
		t.Errorf("pages %v, want %v", paged, all.Data)
	}
	if l := get("?cursor=" + fmt.Sprint(all.Data[4]["client_id"])); !reflect.DeepEqual(l.Data, all.Data[5:]) {
		t.Errorf("a cursor alone: %v", l.Data)
	}
	if l := get("?limit=7"); l.Next != nil || len(l.Data) != 7 {
		t.Errorf("a page that just fits: %d, %v", len(l.Data), l.Next)
	}
	if r := a.call(t, "GET", "/admin/keys?limt=1", admin, nil); !strings.Contains(r.message(t, "a mistyped parameter"), `"limt"`) {
		t.Errorf("a mistyped parameter is not named: %s", r.body)
	}
	for _, path := range []string{"/admin/keys/clients", "/admin/keys", "/admin/keys/" + parse(t, admin).Sub + "/sessions"} {
		for _, bad := range []string{
			"limit=0", "limit=-1", "limit=1001", "limit=x", "limit=", "limit=1&limit=2", "limit=99999999999999999999", "cursor=a:b", "cursor=%00",
			"cursor=a&cursor=b", "limit=%zz", "cursor=" + strings.Repeat("x", 200),
			"since=1", "limit=1&form=1", "Limit=1", "=1",
		} {
			if r := a.call(t, "GET", path+"?"+bad, admin, nil); r.status != 400 || r.message(t, bad) == "" {
				t.Errorf("%s?%s: %d %s", path, bad, r.status, r.body)
			}
		}
	}
}

// No answer of the administration holds what would let its reader in.
func TestAdminAnswers_HoldNoSecrets(t *testing.T) {
	a := startAPI(t)
	pair := a.logIn(t, "alice")
	client := a.mint(t, pair.Access, "context:list")
	id := parse(t, pair.Access).Sub
	a.advance(time.Hour)
	a.refresh(t, pair).data(t, &pair)
	var account store.Account
	var family store.Family
	a.update(t, func(tx *store.Tx) (err error) {
		if account, err = tx.Account("user_password", "alice"); err != nil {
			return err
		}
		family, err = tx.Family(parse(t, pair.Access).Fam)
		return err
	})
	secrets := []string{
		pair.Access, pair.Refresh, client.Access, client.Refresh, a.password, account.PHC, "$argon2id", family.Current.AccessID,
		family.Current.RefreshID, family.PreviousRefreshID, family.Current.AccessKID, family.Current.RefreshKID,
	}
	for _, path := range []string{
		"/admin/keys", "/admin/keys/clients", "/admin/keys/" + id + "/sessions", "/admin/keys/" + id + "/permissions", "/admin/identity",
		"/admin/keys/" + parse(t, client.Access).Sub + "/sessions",
	} {
		r := a.call(t, "GET", path, pair.Access, nil)
		if r.status != 200 {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
		for i, secret := range secrets {
			if secret == "" {
				t.Fatalf("secret %d is empty", i)
			}
			if strings.Contains(r.body, secret) {
				t.Errorf("%s holds secret %d: %s", path, i, r.body)
			}
		}
	}
}

// failing is a store whose disk fails when it is told to.
type failing struct {
	kv.DB
	broken atomic.Bool
}

func (f *failing) Update(ctx context.Context, fn func(kv.Tx) error) error {
	return f.DB.Update(ctx, func(tx kv.Tx) error {
		err := fn(tx)
		if err == nil && f.broken.Load() {
			return fmt.Errorf("commit: %w", syscall.EIO)
		}
		return err
	})
}

// Whatever writes answers a failing disk with 503 and when to try again, and never with a success.
func TestFailingDisk(t *testing.T) {
	disk := new(failing)
	a := startAPI(t, func(o *apiOptions) {
		o.storage = func(db kv.DB) kv.DB {
			disk.DB = db
			return disk
		}
	})
	admin := a.logIn(t, "alice")
	id := parse(t, admin.Access).Sub
	a.addAccount(t, "bob", "admin")
	client := parse(t, a.mint(t, admin.Access, "blob").Access)
	old := a.mint(t, admin.Access, "blob")
	a.advance(time.Hour)
	admin = a.logIn(t, "alice")
	unseen := a.logIn(t, "bob")
	before := a.digest(t)
	disk.broken.Store(true)
	for name, r := range map[string]answer{
		"login":          a.call(t, "POST", "/auth/token", "", a.loginBody("alice")),
		"refresh":        a.refresh(t, old),
		"client key":     a.call(t, "POST", "/admin/client-key", admin.Access, `{}`),
		"permissions":    a.call(t, "PUT", "/admin/keys/"+client.Sub+"/permissions", admin.Access, `{"add":["package"]}`),
		"name":           a.call(t, "PATCH", "/admin/keys/"+client.Sub, admin.Access, `{"name":"x"}`),
		"session":        a.call(t, "DELETE", "/admin/keys/"+client.Sub+"/sessions/"+client.Fam, admin.Access, nil),
		"client's end":   a.call(t, "DELETE", "/admin/keys/"+id+"/clients/"+client.Sub, admin.Access, nil),
		"revocation":     a.call(t, "POST", "/admin/revoke", admin.Access, map[string]string{"client_id": client.Sub}),
		"own session":    a.call(t, "POST", "/admin/revoke", admin.Access, nil),
		"root key":       a.call(t, "POST", "/admin/keys", admin.Access, map[string]any{"public_key": "c", "auth_method": "user_password", "provider_data": map[string]string{"username": "carol", "password": a.password}}),
		"root key's end": a.call(t, "DELETE", "/admin/keys/"+id, admin.Access, nil),
	} {
		if r.status != 503 || r.header.Get("Retry-After") != "30" || r.message(t, name) != "the store is unavailable at present" {
			t.Errorf("%s: %d %v %s, want 503", name, r.status, r.header, r.body)
		}
	}
	for name, token := range map[string]string{"cached": admin.Access, "not seen yet": unseen.Access} {
		if r := a.call(t, "GET", "/auth/validate", token, nil); r.status != 200 {
			t.Errorf("validate, %s: %d %s; it writes nothing", name, r.status, r.body)
		}
	}
	if a.digest(t) != before {
		t.Error("something was stored")
	}
	if lines := a.log.lines(t, "request refused"); len(lines) == 0 || !strings.Contains(fmt.Sprint(lines[len(lines)-1]), "input/output error") {
		t.Errorf("the log does not tell why: %v", lines)
	}
}
