package keys

import (
	"slices"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
	"github.com/calimero-network/mero-go/services/auth/internal/login"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// Nobody grants what they do not hold. Today every route that grants asks for admin, who holds everything, so no request
// can show that the rule is there. It must be, for the day on which a row of the table asks for less: these tests put
// callers without admin behind the admission.

// narrow is a caller who holds some rights and not admin: the token, the key and the root each lack something else.
func narrow() standing {
	token := permission.NewSet([]string{"context:list", "blob", "keys"})
	key := permission.NewSet([]string{"context", "blob:list", "keys"})
	root := permission.NewSet([]string{"context", "blob", "keys:create"})
	return standing{key: store.Key{ID: "caller"}, rights: gate.Rights{token, key, root}}
}

// grants tells what narrow may grant and what not.
var grants = map[string]bool{
	"context:list": true, "context:list[c1]": true, "blob:list": true, "keys:create": true,
	"admin": false, "context": false, "context:execute": false, "blob": false, "keys": false, "package": false,
}

// granted plays one grant, over a fresh store that holds the key "old". It returns the error and the permissions of the key
// that was to get them, nil if there is none.
func granted(t *testing.T, to string, fn func(*Service, *store.Tx) error) (held []string, err error) {
	t.Helper()
	records, err := store.Open(t.Context(), memory.New())
	if err != nil {
		t.Fatal(err)
	}
	s := &Service{Store: records, Now: func() time.Time { return time.Unix(1_000_000, 0) }}
	if err := records.Update(t.Context(), func(tx *store.Tx) error {
		return tx.CreateKey(store.Key{ID: "old", Type: store.Root}, []string{"keys:list"})
	}); err != nil {
		t.Fatal(err)
	}
	err = records.Update(t.Context(), func(tx *store.Tx) error { return fn(s, tx) })
	_ = records.View(t.Context(), func(tx *store.Tx) (missing error) { // a key that is not there holds nothing
		held, missing = tx.Permissions(to)
		return missing
	})
	return held, err
}

func TestNobodyGrantsWhatTheyDoNotHold(t *testing.T) {
	for text, may := range grants {
		for how, grant := range map[string]func() ([]string, error){
			"a root key": func() ([]string, error) {
				return granted(t, "new", func(s *Service, tx *store.Tx) error {
					_, created, err := s.addRootBy(tx, narrow(), login.RootGrant{
						Provider: "p", Proof: provider.Proof{KeyID: "new"}, Permissions: []string{"keys:create", text}, Now: s.Now(),
					}, false)
					if created != may {
						t.Errorf("%s: created %t, want %t", text, created, may)
					}
					return err
				})
			},
			"an existing key": func() ([]string, error) {
				return granted(t, "old", func(s *Service, tx *store.Tx) error {
					_, changed, err := s.changePermissionsBy(tx, narrow(), "old", Change{Add: []string{text}})
					if changed != may {
						t.Errorf("%s: changed %t, want %t", text, changed, may)
					}
					return err
				})
			},
			"a client key": func() ([]string, error) {
				return clientPermissions(narrow().rights, ClientRequest{ContextID: "c1", Permissions: []string{"blob:list", text}})
			},
		} {
			refusal := fault.Forbidden
			if how == "a client key" {
				refusal = fault.Invalid // as the reference
			}
			held, err := grant()
			if slices.Contains(held, text) != may {
				t.Errorf("%s with %s holds %q", how, text, held)
			}
			if may && err != nil || !may && fault.CodeOf(err) != refusal {
				t.Errorf("%s with %s: %v, want it to be granted: %t", how, text, err, may)
			}
		}
	}
}
