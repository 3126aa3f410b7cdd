package app_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/internal/home"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

func seeded(t *testing.T, change func(*config.Config), contexts ...store.Context) *node {
	t.Helper()
	dir := t.TempDir()
	db, err := store.Open(home.Dir(dir).Path("data"))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(t.Context(), func(tx *store.Tx) error {
		for _, c := range contexts {
			if err := tx.PutContext(c); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return start(t, dir, change)
}

func TestContexts_ExactKeys(t *testing.T) {
	bare := store.Context{ID: id.ID{1}, Application: id.ID{2}, StateHash: id.ID{3}}
	full := store.Context{ID: id.ID{2}, Application: id.ID{9}, StateHash: id.ID{4}, DAGHeads: []id.ID{{255, 1}}, Service: "svc", ApplicationVersion: "0.1.0", Group: strings.Repeat("ab", 32)}
	n := seeded(t, open, bare, full)
	get := func(path string) answer {
		return do(t, request(t, http.MethodGet, n.url("/admin-api/contexts"+path), nil))
	}
	bareJSON := fmt.Sprintf(`{"id":%q,"applicationId":%q,"contextStateHash":%q}`, bare.ID, bare.Application, bare.StateHash)
	head := "[255,1" + strings.Repeat(",0", 30) + "]"
	fullJSON := fmt.Sprintf(`{"id":%q,"applicationId":%q,"contextStateHash":%q,"serviceName":"svc","dagHeads":[%s],"applicationVersion":"0.1.0"`, full.ID, full.Application, full.StateHash, head)
	expect(t, get(""), 200, `{"data":{"contexts":[`+bareJSON+","+fullJSON+`,"groupId":"`+full.Group+`"}]}}`)
	expect(t, get("/for-application/"+bare.Application.String()), 200, `{"data":{"contexts":[`+bareJSON+`]}}`)
	expect(t, get("/for-application/"+id.ID{77}.String()), 200, `{"data":{"contexts":[]}}`)
	expect(t, get("/for-application/x"), 400, `{"error":"Invalid application id"}`)
	expect(t, get("/"+full.ID.String()), 200, `{"data":`+fullJSON+`}}`) // the group only in lists
	expect(t, get("/"+id.ID{77}.String()), 404, `{"error":"Context not found"}`)
	expect(t, get("/x"), 400, `{"error":"Invalid context id"}`)
}

func TestContexts_EmptyListIsAList(t *testing.T) {
	n := start(t, t.TempDir(), open)
	expect(t, do(t, request(t, http.MethodGet, n.url("/admin-api/contexts"), nil)), 200, `{"data":{"contexts":[]}}`)
}

func TestContexts_BindingHidesTheOthers(t *testing.T) {
	one, two := store.Context{ID: id.ID{1}, Application: id.ID{8}}, store.Context{ID: id.ID{2}, Application: id.ID{9}}
	n := seeded(t, nil, one, two)
	for permissions, want := range map[string][]id.ID{
		"context:list": {one.ID, two.ID},
		"context":      {one.ID, two.ID},
		"admin":        {one.ID, two.ID},
		"context[" + two.ID.String() + "],context:list":                      {two.ID},
		"context[" + id.ID{7}.String() + "],context:list":                    {},
		"application-binding[" + one.Application.String() + "],context:list": {one.ID},
	} {
		a := n.as(t, permissions, http.MethodGet, "/admin-api/contexts", nil)
		var list struct {
			Data struct{ Contexts []struct{ ID id.ID } }
		}
		if err := json.Unmarshal([]byte(a.body), &list); err != nil {
			t.Fatalf("%s: %s %s", permissions, a.Status, a.body)
		}
		got := []id.ID{}
		for _, c := range list.Data.Contexts {
			got = append(got, c.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s sees %v, want %v", permissions, got, want)
		}
	}
	bound := "context[" + two.ID.String() + "],context:list"
	if a := n.as(t, bound, http.MethodGet, "/admin-api/contexts/"+two.ID.String(), nil); a.StatusCode != 200 {
		t.Errorf("the bound context: %s %s", a.Status, a.body)
	}
	for name, permissions := range map[string]string{"context binding": bound, "application binding": "application-binding[" + two.Application.String() + "],context"} {
		a := n.as(t, permissions, http.MethodGet, "/admin-api/contexts/"+one.ID.String(), nil)
		expect(t, a, 403, `{"error":"permission denied"}`)
		if a.Header.Get(identity.HeaderError) != identity.PermissionDenied {
			t.Errorf("%s: X-Auth-Error = %q", name, a.Header.Get(identity.HeaderError))
		}
	}
}

// A key for one method is for that method alone.
func TestNewIdentity_NotForAKeyOfOneMethod(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	one, who := id.ID{1}.String(), id.ID{2}.String()
	for permissions, want := range map[string]int{
		"context:execute": 200, "context:execute[" + one + "]": 200, "context:execute[" + one + "," + who + "]": 200,
		"context[" + one + "],context:execute": 200, "admin": 200,
		"context:execute[" + one + "," + who + ",get]": 403, "context:execute[,,get]": 403,
	} {
		a := n.posting(t, permissions)("/identity/context", "")
		if a.StatusCode != want || (want == 403) != (a.Header.Get(identity.HeaderError) == identity.PermissionDenied) {
			t.Errorf("%s: %s %s, want %d", permissions, a.Status, a.body, want)
		}
	}
}

func TestNewIdentity_IsStoredUnderTheZeroContext(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, open)
	keys := map[id.ID]bool{}
	for _, body := range []string{"", "null", "{}", `{"future":1}`, " \n"} {
		a := do(t, request(t, http.MethodPost, n.url("/admin-api/identity/context"), strings.NewReader(body)))
		var made struct {
			Data struct {
				PublicKey id.ID `json:"publicKey"`
			}
		}
		if err := json.Unmarshal([]byte(a.body), &made); err != nil || a.StatusCode != 200 {
			t.Fatalf("%q: %s %s", body, a.Status, a.body)
		}
		keys[made.Data.PublicKey] = true
	}
	if len(keys) != 5 {
		t.Errorf("%d keys from 5 calls", len(keys))
	}
	for _, body := range []string{"{", "[]", `"x"`, "{} {}", strings.Repeat(" ", 1<<20) + "{}"} {
		a := do(t, request(t, http.MethodPost, n.url("/admin-api/identity/context"), strings.NewReader(body)))
		if want := map[bool]int{true: 413, false: 400}[len(body) > 1000]; a.StatusCode != want || !strings.HasPrefix(a.body, `{"error":"`) {
			t.Errorf("%.20q: %s %s, want %d", body, a.Status, a.body, want)
		}
	}
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(home.Dir(dir).Path("data"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.View(t.Context(), func(tx *store.Tx) error {
		for key := range keys {
			i, err := tx.Identity(id.ID{}, key)
			if err != nil || !bytes.Equal(i.Private.Public().(ed25519.PublicKey), key[:]) {
				t.Errorf("%s: %v", key, err)
			}
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
