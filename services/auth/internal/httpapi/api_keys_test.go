package httpapi_test

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

func TestListKeys(t *testing.T) {
	a := startAPI(t)
	pair := a.logIn(t, "alice")
	root := parse(t, pair.Access).Sub
	var clients []map[string]any
	r := a.call(t, "GET", "/admin/keys/clients", pair.Access, nil)
	if r.data(t, &clients); len(clients) != 0 || !strings.Contains(r.body, `"data":[]`) {
		t.Errorf("client keys of a fresh store: %s, want an empty array", r.body)
	}
	plain := parse(t, a.mint(t, pair.Access).Access).Sub // the login page's key without any permission
	var machine, gone tokens
	a.call(t, "POST", "/admin/client-key", pair.Access, map[string]any{
		"context_id": "ctx-1", "context_identity": "me", "permissions": []string{"context:list"}, "expires_in": 3600,
	}).data(t, &machine)
	a.call(t, "POST", "/admin/client-key", pair.Access, map[string]any{"name": "backup", "permissions": []string{"blob"}}).data(t, &gone)
	a.advance(time.Minute)
	a.call(t, "DELETE", "/admin/keys/"+root+"/clients/"+parse(t, gone.Access).Sub, pair.Access, nil)

	now := float64(apiStart.Unix())
	var roots []map[string]any
	r = a.call(t, "GET", "/admin/keys", pair.Access, nil)
	r.data(t, &roots)
	wantRoots := []map[string]any{{
		"key_id": root, "public_key": "alice", "auth_method": "user_password", "created_at": now, "revoked_at": nil, "permissions": []any{"admin"},
		"name": "", "node_url": "", "created_by": "", "expires_at": nil, "last_used_at": nil, "is_valid": true, "state": "live",
	}}
	if !reflect.DeepEqual(roots, wantRoots) {
		t.Errorf("root keys %v, want %v", roots, wantRoots)
	}
	if r.header.Get("X-Auth-User") != root || r.header.Get("X-Auth-Permissions") != "admin" {
		t.Errorf("headers of an admin answer: %v", r.header)
	}
	want := map[string]map[string]any{
		plain: {
			"client_id": plain, "root_key_id": root, "name": "Context Client -  ()", "permissions": []any{}, "created_at": now,
			"revoked_at": nil, "expires_at": nil, "is_valid": true, "state": "live",
		},
		parse(t, machine.Access).Sub: {
			"client_id": parse(t, machine.Access).Sub, "root_key_id": root, "name": "Context Client - ctx-1 (me)",
			"permissions": []any{"context[ctx-1,me]", "context:list"}, "created_at": now, "revoked_at": nil, "expires_at": now + 3600, "is_valid": true, "state": "live",
		},
		parse(t, gone.Access).Sub: {
			"client_id": parse(t, gone.Access).Sub, "root_key_id": root, "name": "backup", "permissions": []any{"blob"}, "created_at": now,
			"revoked_at": now + 60, "expires_at": nil, "is_valid": false, "state": "revoked",
		},
	}
	for _, w := range want {
		w["node_url"], w["created_by"], w["minted_by"], w["machine"], w["last_used_at"] = "", root, "", w["expires_at"] != nil, nil
	}
	a.call(t, "GET", "/admin/keys/clients", pair.Access, nil).data(t, &clients)
	if len(clients) != len(want) {
		t.Errorf("%d client keys, want %d", len(clients), len(want))
	}
	for _, got := range clients {
		id, _ := got["client_id"].(string)
		if !reflect.DeepEqual(got, want[id]) {
			t.Errorf("client key %v, want %v", got, want[id])
		}
	}
}

// The bodies that the known clients send, and their neighbours.
func TestClientKeyEndpoint_Bodies(t *testing.T) {
	a := startAPI(t)
	admin := a.logIn(t, "alice").Access
	spa := []string{"context:create", "context:list", "context:execute"}
	for name, tt := range map[string]struct {
		body string
		want []string
		node string
	}{
		"login page":            {`{"context_id":"","context_identity":"","permissions":["context:create","context:list","context:execute"]}`, spa, ""},
		"with null fields":      {`{"context_id":null,"context_identity":null,"permissions":["blob"],"target_node_url":null,"name":null,"expires_in":null}`, []string{"blob"}, ""},
		"nothing":               {`{}`, []string{}, ""},
		"null permissions":      {`{"permissions":null}`, []string{}, ""},
		"bound":                 {`{"context_id":"ctx-1","context_identity":"member-pk-1","permissions":["context:list"]}`, []string{"context[ctx-1,member-pk-1]", "context:list"}, ""},
		"bound to a context":    {`{"context_id":"ctx-1","permissions":["context:list"]}`, []string{"context[ctx-1]", "context:list"}, ""},
		"identity null":         {`{"context_id":"ctx-1","context_identity":null}`, []string{"context[ctx-1]"}, ""},
		"with a node":           {`{"permissions":[],"target_node_url":"https://Node.example:8443/x?y"}`, []string{}, "https://node.example:8443"},
		"with an empty node":    {`{"permissions":[],"target_node_url":""}`, []string{}, ""},
		"unknown members":       {`{"permissions":["blob"],"is_admin":true,"root_key_id":"x"}`, []string{"blob"}, ""},
		"every grant of an app": {`{"permissions":["context:create","context:list","context:execute","context:alias","namespace","group","blob","application","package"]}`, []string{"context:create", "context:list", "context:execute", "context:alias", "namespace", "group", "blob", "application", "package"}, ""},
	} {
		var pair tokens
		a.call(t, "POST", "/admin/client-key", admin, tt.body).data(t, &pair)
		c := parse(t, pair.Access)
		if pair.Refresh == "" || pair.Error != nil || !slices.Equal(c.Permissions, tt.want) || c.NodeURL != tt.node || !strings.Contains(rawClaims(t, pair.Access), `"permissions":[`) {
			t.Errorf("%s: %+v, want permissions %q and node %q", name, c, tt.want, tt.node)
		}
	}
	for name, tt := range map[string]struct {
		body    string
		status  int
		message string
	}{
		"not held":                 {`{"permissions":["nonsense"]}`, 400, "Root key does not have permission: nonsense"},
		"markup":                   {`{"permissions":["<img src=x>"]}`, 400, "Root key does not have permission: &lt;img src=x&gt;"},
		"smuggled":                 {`{"context_id":"x],admin[","context_identity":"me"}`, 400, "identifiers"},
		"identity alone":           {`{"context_id":"","context_identity":"me"}`, 400, "identifiers"},
		"empty identity":           {`{"context_id":"ctx-1","context_identity":""}`, 400, "context_identity"},
		"expires_in 0":             {`{"expires_in":0}`, 400, "expires_in"},
		"expires_in below zero":    {`{"expires_in":-60}`, 400, "expires_in"},
		"expires_in 59":            {`{"expires_in":59}`, 400, "expires_in"},
		"expires_in over the top":  {`{"expires_in":31622401}`, 400, "expires_in"},
		"expires_in overflowing":   {`{"expires_in":9223372036854775807}`, 400, "expires_in"},
		"expires_in of a fraction": {`{"expires_in":60.5}`, 400, "expires_in"},
		"expires_in as text":       {`{"expires_in":"60"}`, 400, "expires_in"},
		"permissions as text":      {`{"permissions":"admin"}`, 400, "permissions"},
		"bad target":               {`{"target_node_url":"file:///etc/passwd"}`, 400, "target_node_url"},
		"name too long":            {`{"name":"` + strings.Repeat("n", 129) + `"}`, 400, "name"},
		"array":                    {`[]`, 400, "Invalid JSON"},
		"no body":                  {``, 400, "Invalid JSON"},
	} {
		before := a.digest(t)
		r := a.call(t, "POST", "/admin/client-key", admin, tt.body)
		if got := r.message(t, name); r.status != tt.status || !strings.Contains(got, tt.message) {
			t.Errorf("%s: %d %q, want %d %q", name, r.status, got, tt.status, tt.message)
		}
		if a.digest(t) != before {
			t.Errorf("%s: something was stored", name)
		}
	}
	for _, life := range []int64{60, 31622400} {
		var pair tokens
		r := a.call(t, "POST", "/admin/client-key", admin, map[string]any{"expires_in": life, "name": "job"})
		r.data(t, &pair)
		if c := parse(t, pair.Access); c.Exp != apiStart.Unix()+life || pair.Refresh != "" || !strings.Contains(r.body, `"refresh_token":""`) {
			t.Errorf("machine token of %d s: %s, %+v", life, r.body, c)
		}
	}
}

func rawClaims(t *testing.T, raw string) string {
	t.Helper()
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		t.Fatalf("token %q", raw)
	}
	return decode64(t, parts[1])
}

// Clients of a client key, over HTTP: they belong to the root and die with the key whose token minted them.
func TestClientKeyEndpoint_MintedByAClient(t *testing.T) {
	a := startAPI(t)
	admin := a.logIn(t, "alice").Access
	root := parse(t, admin).Sub
	parent := a.mint(t, admin, "admin")
	child := a.mint(t, parent.Access, "context:list")
	a.call(t, "GET", "/admin/identity", child.Access, nil).data(t, &map[string]any{})
	parentID := parse(t, parent.Access).Sub
	a.call(t, "DELETE", "/admin/keys/"+root+"/clients/"+parentID, admin, nil).data(t, &map[string]any{})
	for name, token := range map[string]string{"parent": parent.Access, "child": child.Access} {
		r := a.call(t, "GET", "/admin/identity", token, nil)
		if r.status != 403 || r.header.Get("X-Auth-Error") != "token_revoked" {
			t.Errorf("%s after the parent's deletion: %d %q, want 403 token_revoked", name, r.status, r.header.Get("X-Auth-Error"))
		}
	}
	a.advance(time.Hour)
	if r := a.refresh(t, child); r.status != 401 || r.header.Get("X-Auth-Error") != "token_revoked" {
		t.Errorf("refresh of the child: %d %q", r.status, r.header.Get("X-Auth-Error"))
	}
}

func TestDeleteKeys(t *testing.T) {
	a := startAPI(t)
	admin := a.logIn(t, "alice").Access
	root := parse(t, admin).Sub
	bob := a.addAccount(t, "bob", "admin")
	bobToken := a.logIn(t, "bob").Access
	client := a.mint(t, admin, "blob")
	clientID := parse(t, client.Access).Sub
	a.advance(time.Minute)
	refused := func(what, path, token string, status int, message string) {
		t.Helper()
		r := a.call(t, "DELETE", path, token, nil)
		if got := r.message(t, what); r.status != status || got != message {
			t.Errorf("%s: %d %q, want %d %q", what, r.status, got, status, message)
		}
	}
	refused("unknown client", "/admin/keys/"+root+"/clients/nobody", admin, 404, "Client key not found")
	refused("a root key as client", "/admin/keys/"+root+"/clients/"+bob, admin, 404, "Client key not found")
	refused("another root's client", "/admin/keys/"+bob+"/clients/"+clientID, admin, 400, "Client key does not belong to specified root key")
	refused("unknown root", "/admin/keys/nobody", admin, 404, "Root key not found")
	refused("a client as root key", "/admin/keys/"+clientID, admin, 400, "Not a root key")
	union := func(what, path, id, message string) {
		t.Helper()
		var got map[string]any
		a.call(t, "DELETE", path, admin, nil).data(t, &got)
		want := map[string]any{"key_id": id, "revoked_at": float64(apiStart.Unix() + 60), "status": true, "success": true, "message": message}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	union("client", "/admin/keys/"+root+"/clients/"+clientID, clientID, "Client key was deleted")
	refused("the client again", "/admin/keys/"+root+"/clients/"+clientID, admin, 404, "Client key not found")
	union("root", "/admin/keys/"+bob, bob, "Key was deleted")
	refused("the root again", "/admin/keys/"+bob, admin, 404, "Root key not found")
	if r := a.call(t, "GET", "/admin/keys", bobToken, nil); r.status != 403 || r.header.Get("X-Auth-Error") != "token_revoked" {
		t.Errorf("the deleted administrator: %d %v", r.status, r.header)
	}
	if r := a.call(t, "POST", "/auth/token", "", a.loginBody("bob")); r.status != 401 || !strings.Contains(r.body, "revoked") {
		t.Errorf("login of the deleted administrator: %d %s", r.status, r.body)
	}

	// The last administrator stays, by every path, and the answer has what each client reads.
	for name, r := range map[string]answer{
		"DELETE": a.call(t, "DELETE", "/admin/keys/"+root, admin, nil),
		"revoke": a.call(t, "POST", "/admin/revoke", a.mint(t, admin, "admin").Access, map[string]string{"client_id": root}),
	} {
		var got map[string]any
		r.json(t, &got)
		want := map[string]any{
			"data":  map[string]any{"status": false, "success": false, "message": "Cannot delete the last active root key"},
			"error": "Cannot delete the last active root key",
		}
		if r.status != http.StatusConflict || !reflect.DeepEqual(got, want) {
			t.Errorf("%s of the last administrator: %d %v, want 409 %v", name, r.status, got, want)
		}
	}
	a.logIn(t, "alice")
}

func TestRevokeEndpoint(t *testing.T) {
	a := startAPI(t)
	admin := a.logIn(t, "alice").Access
	success := map[string]any{"success": true, "message": "Tokens revoked successfully"}
	for name, revoke := range map[string]func(token string) answer{
		"no body":   func(token string) answer { return a.call(t, "POST", "/admin/revoke", token, nil) },
		"an object": func(token string) answer { return a.call(t, "POST", "/admin/revoke", token, "{}") },
		"null":      func(token string) answer { return a.call(t, "POST", "/admin/revoke", token, `{"client_id":null}`) },
		"its own key": func(token string) answer {
			return a.call(t, "POST", "/admin/revoke", token, map[string]string{"client_id": parse(t, token).Sub})
		},
		"no content type, no body": func(token string) answer {
			return a.call(t, "POST", "/admin/revoke", token, nil, "Content-Type", "")
		},
	} {
		mine := a.mint(t, admin, "context:list")
		var got map[string]any
		if revoke(mine.Access).data(t, &got); !reflect.DeepEqual(got, success) {
			t.Errorf("%s: %v", name, got)
		}
		if r := a.call(t, "GET", "/admin/identity", mine.Access, nil); r.status != 403 || r.header.Get("X-Auth-Error") != "token_revoked" {
			t.Errorf("%s: the session goes on: %d", name, r.status)
		}
		a.update(t, func(tx *store.Tx) error {
			if k, err := tx.Key(parse(t, mine.Access).Sub); err != nil || k.RevokedAt != 0 {
				t.Errorf("%s: key %+v, %v; only the session was to end", name, k, err)
			}
			return nil
		})
	}
	chunked := func(token, head, body string) answer {
		t.Helper()
		r, _ := a.raw(t, "POST", []byte("POST /admin/revoke HTTP/1.1\r\nHost: auth\r\nAuthorization: Bearer "+token+
			"\r\nTransfer-Encoding: chunked\r\n"+head+"\r\n"+body))
		return r
	}
	const asJSON = "Content-Type: application/json\r\n"
	streamed := a.mint(t, admin, "context:list").Access
	for name, tt := range map[string]struct {
		head, body string
		status     int
	}{
		"a body that is no JSON":       {"", "2\r\n{}\r\n0\r\n\r\n", 415},
		"an id of nothing in chunks":   {asJSON, "7\r\n{\"clien\r\nb\r\nt_id\":\"a:b\"}\r\n0\r\n\r\n", 400},
		"a chunk that is none":         {asJSON, "nonsense\r\n", 400},
		"a body that breaks off later": {asJSON, "2\r\n{}\r\nnonsense\r\n", 400},
	} {
		if r := chunked(streamed, tt.head, tt.body); r.status != tt.status {
			t.Errorf("%s: %d %s, want %d", name, r.status, r.body, tt.status)
		}
	}
	if r := a.call(t, "GET", "/admin/identity", streamed, nil); r.status != 200 {
		t.Errorf("a refused revocation ended the session: %d", r.status)
	}
	if r := chunked(streamed, "", "0\r\n\r\n"); r.status != 200 {
		t.Errorf("an empty body of unknown length: %d %s, want what no body does", r.status, r.body)
	}
	if r := chunked(a.mint(t, admin).Access, asJSON, "2\r\n{}\r\n0\r\n\r\n"); r.status != 200 {
		t.Errorf("an object in a chunk: %d %s", r.status, r.body)
	}
	if r := a.call(t, "GET", "/admin/identity", streamed, nil); r.status != 403 {
		t.Errorf("the session goes on: %d", r.status)
	}
	victim := a.mint(t, admin, "blob")
	other := map[string]string{"client_id": parse(t, victim.Access).Sub}
	for name, permission := range map[string]string{"no right": "context:list", "another right": "keys:list", "a right to delete clients": "keys:clients:delete"} {
		r := a.call(t, "POST", "/admin/revoke", a.mint(t, admin, permission).Access, other)
		if r.status != 403 || r.header.Get("X-Auth-Error") != "permission_denied" {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	for name, tt := range map[string]struct {
		body   string
		status int
	}{
		"unknown id":       {`{"client_id":"nobody"}`, 404},
		"empty id":         {`{"client_id":""}`, 422},
		"an id of nothing": {`{"client_id":"a:b"}`, 400},
		"NUL":              {`{"client_id":"\u0000"}`, 400},
		"long id":          {fmt.Sprintf(`{"client_id":%q}`, strings.Repeat("x", 40_000)), 400},
		"a number":         {`{"client_id":1}`, 400},
		"an array":         {`[]`, 400},
		"no JSON":          {`client_id=x`, 400},
	} {
		r := a.call(t, "POST", "/admin/revoke", admin, tt.body)
		if r.message(t, name); r.status != tt.status {
			t.Errorf("%s: %d %s, want %d", name, r.status, r.body, tt.status)
		}
	}
	if r := a.call(t, "GET", "/admin/identity", victim.Access, nil); r.status != 200 {
		t.Fatalf("the victim was revoked by a refused request: %d", r.status)
	}
	deleter := a.mint(t, admin, "keys:delete")
	a.call(t, "POST", "/admin/revoke", deleter.Access, other).data(t, &map[string]any{})
	if r := a.call(t, "GET", "/admin/identity", victim.Access, nil); r.status != 403 {
		t.Errorf("the revoked key: %d", r.status)
	}
}

func TestCreateRootEndpoint(t *testing.T) {
	a := startAPI(t)
	admin := a.logIn(t, "alice").Access
	password := map[string]any{
		"public_key": "bob", "auth_method": "user_password", "provider_data": map[string]string{"username": "bob", "password": a.password},
	}
	wallet := map[string]any{
		"public_key": "0x8A0B243A0d4Fd01E7d4EF4B65A709Ea01469DCb9", "auth_method": "eth_wallet",
		"provider_data": map[string]string{"account_id": "0x8A0B243A0d4Fd01E7d4EF4B65A709Ea01469DCb9"},
	}
	created := func(what, message string, body map[string]any) {
		t.Helper()
		var got map[string]any
		a.call(t, "POST", "/admin/keys", admin, body).data(t, &got)
		if want := map[string]any{"status": true, "message": message}; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	created("password account", "Key was created", password)
	created("wallet", "Key was created", wallet)
	created("the wallet again", "Key exists already", wallet)
	bob := a.logIn(t, "bob")
	if got := parse(t, bob.Access).Permissions; !slices.Equal(got, []string{"admin"}) {
		t.Errorf("the new administrator has %q", got)
	}
	var roots []map[string]any
	a.call(t, "GET", "/admin/keys", admin, nil).data(t, &roots)
	walletID := ""
	for _, root := range roots {
		if root["auth_method"] == "eth_wallet" {
			walletID, _ = root["key_id"].(string)
		}
	}
	a.call(t, "DELETE", "/admin/keys/"+walletID, admin, nil).data(t, &map[string]any{})

	refused := func(what string, status int, message string, token string, body any) {
		t.Helper()
		before := a.digest(t)
		r := a.call(t, "POST", "/admin/keys", token, body)
		if got := r.message(t, what); r.status != status || !strings.Contains(got, message) {
			t.Errorf("%s: %d %q, want %d %q", what, r.status, got, status, message)
		}
		if a.digest(t) != before {
			t.Errorf("%s: the store changed", what)
		}
	}
	refused("a revoked key", 409, "was revoked; it is not replaced", admin, wallet)
	wallet["replace_revoked"] = true // its id is its identity: nothing replaces it
	refused("a revoked wallet's key, replaced", 409, "was revoked; it is not replaced", admin, wallet)
	// A live account answers alike whatever password comes: nothing is changed and nothing is learned.
	created("the same account and password", "Key exists already", password)
	password["provider_data"] = map[string]string{"username": "bob", "password": "another password"}
	before := a.digest(t)
	created("another password for an account", "Key exists already", password)
	if a.digest(t) != before {
		t.Error("another password for an account changed the store")
	}
	refused("a client with every right but admin", 403, "permission denied", a.mint(t, admin, "keys", "context", "application", "blob").Access, password)
	for what, body := range map[string]string{
		"unknown method":        `{"public_key":"x","auth_method":"near_wallet","provider_data":{}}`,
		"no provider_data":      `{"public_key":"x","auth_method":"user_password"}`,
		"null provider_data":    `{"public_key":"x","auth_method":"user_password","provider_data":null}`,
		"missing member":        `{"public_key":"x","auth_method":"user_password","provider_data":{"username":"carol"}}`,
		"short password":        `{"public_key":"x","auth_method":"user_password","provider_data":{"username":"carol","password":"short"}}`,
		"no public_key":         `{"auth_method":"user_password","provider_data":{}}`,
		"public_key of nothing": `{"public_key":"\u00e9","auth_method":"user_password","provider_data":{"username":"carol","password":"long enough"}}`,
		"bad target":            `{"public_key":"x","auth_method":"user_password","provider_data":{"username":"carol","password":"long enough"},"target_node_url":"x"}`,
		"no address":            `{"public_key":"x","auth_method":"eth_wallet","provider_data":{"account_id":"bob.testnet"}}`,
	} {
		refused(what, 400, "", admin, body)
	}
	refused("empty auth_method", 422, "auth_method", admin, `{"public_key":"x","auth_method":"","provider_data":{}}`)
	a.logIn(t, "bob") // with the password of old
}

// The name of a deleted password account is not lost for ever: it passes to a new key, and nothing of the old one lives.
func TestCreateRootEndpoint_NameOfARevokedAccount(t *testing.T) {
	a := startAPI(t)
	admin := a.logIn(t, "alice").Access
	a.addAccount(t, "bob", "admin")
	bob := a.logIn(t, "bob")
	old := parse(t, bob.Access).Sub
	minted := a.mint(t, bob.Access, "context:list")
	a.call(t, "DELETE", "/admin/keys/"+old, admin, nil).data(t, &map[string]any{})
	const another = "another password"
	create := map[string]any{
		"public_key": "bob", "auth_method": "user_password", "provider_data": map[string]string{"username": "bob", "password": another},
		"permissions": []string{"context:list"},
	}
	// A script that adds what is not there must not bring somebody back who was sent away: only who says so does.
	for _, unsaid := range []any{nil, false} {
		create["replace_revoked"] = unsaid
		before := a.digest(t)
		r := a.call(t, "POST", "/admin/keys", admin, create)
		if got := r.message(t, "unsaid"); r.status != 409 || !strings.Contains(got, "replace_revoked") || a.digest(t) != before {
			t.Errorf("replace_revoked %v: %d %s", unsaid, r.status, r.body)
		}
	}
	create["replace_revoked"] = true
	for _, want := range []string{"Key was created", "Key exists already"} {
		var got map[string]any
		if a.call(t, "POST", "/admin/keys", admin, create).data(t, &got); got["message"] != want || got["status"] != true {
			t.Errorf("%v, want %q", got, want)
		}
	}
	var roots []map[string]any
	a.call(t, "GET", "/admin/keys", admin, nil).data(t, &roots)
	ids := map[bool][]any{}
	for _, root := range roots {
		if root["public_key"] == "bob" {
			live := root["revoked_at"] == nil
			ids[live] = append(ids[live], root["key_id"])
		}
	}
	if len(ids[true]) != 1 || !reflect.DeepEqual(ids[false], []any{old}) || ids[true][0] == old {
		t.Fatalf("bob's keys are %v, want %s revoked and a new one", ids, old)
	}
	for what, token := range map[string]string{"session": bob.Access, "client key": minted.Access} {
		if r := a.call(t, "GET", "/admin/identity", token, nil); r.status != 403 || r.header.Get("X-Auth-Error") != "token_revoked" {
			t.Errorf("the %s of the revoked key: %d", what, r.status)
		}
	}
	if r := a.call(t, "POST", "/auth/token", "", a.loginBody("bob")); r.status != 401 {
		t.Errorf("the old password: %d %s", r.status, r.body)
	}
	login := a.loginBody("bob")
	login["provider_data"] = map[string]string{"username": "bob", "password": another}
	var pair tokens
	a.call(t, "POST", "/auth/token", "", login).data(t, &pair)
	if got := parse(t, pair.Access); got.Sub != ids[true][0] || !slices.Equal(got.Permissions, []string{"context:list"}) {
		t.Errorf("the new key: %+v, want the rights that it was given", got)
	}
	r := a.call(t, "GET", "/admin/audit", admin, nil)
	if !strings.Contains(r.body, "has the account of the revoked key "+old) || strings.Contains(r.body, another) {
		t.Errorf("the audit does not tell, or tells too much: %s", r.body)
	}
}

// Two administrators delete each other over HTTP: one is left.
func TestParallelDeletionOfAdministrators(t *testing.T) {
	for range 5 {
		a := startAPI(t)
		bob := a.addAccount(t, "bob", "admin")
		alice := a.logIn(t, "alice").Access
		bobToken := a.logIn(t, "bob").Access
		got := make([]int, 2)
		var wg sync.WaitGroup
		wg.Go(func() { got[0] = a.call(t, "DELETE", "/admin/keys/"+bob, alice, nil).status })
		wg.Go(func() { got[1] = a.call(t, "DELETE", "/admin/keys/"+parse(t, alice).Sub, bobToken, nil).status })
		wg.Wait()
		slices.Sort(got)
		if got[0] != 200 || (got[1] != 403 && got[1] != 409) {
			t.Errorf("answers %v, want 200 and a refusal", got)
		}
	}
}
