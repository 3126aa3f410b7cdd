package secret_test

import (
	"context"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
)

// Each rotation is in the audit with its kind and the id of the new key, and whether a person or the clock did it. One
// that is not stored is not there.
func TestRotate_IsAudited(t *testing.T) {
	testBackends(t, func(e *env) {
		options := e.options()
		options.Audit = audit.New(e.db)
		copied := 0
		options.Audit.CopyTo(func(audit.Event) { copied++ })
		k, err := secret.Open(e.t.Context(), e.db, sealer(e.t, e.master), options)
		if err != nil {
			e.t.Fatal(err)
		}
		e.rotate(k, secret.Access, true)
		kid := k.Signing(secret.Access).ID
		e.advance(2 * day)
		if err := k.RotateDue(e.t.Context()); err != nil {
			e.t.Fatal(err)
		}
		ended, cancel := context.WithCancel(e.t.Context())
		cancel()
		if err := k.Rotate(ended, secret.Access, false); err == nil {
			e.t.Error("a rotation succeeds whose context has ended")
		}
		page, err := options.Audit.List(e.t.Context(), audit.Query{Limit: 100})
		if err != nil {
			e.t.Fatal(err)
		}
		by := map[string]int{}
		for _, event := range page.Events {
			if event.Action != audit.SecretRotated || event.Time.IsZero() {
				e.t.Errorf("event %+v", event)
			}
			by[event.Actor]++
		}
		first := page.Events[0]
		if first.Subject != "access" || first.Actor != audit.ByHost || !strings.Contains(first.Detail, kid) || !strings.Contains(first.Detail, "void") {
			e.t.Errorf("the rotation by hand is recorded as %+v", first)
		}
		if by[audit.ByHost] != 1 || by[audit.BySystem] < len(kinds) || copied != len(page.Events) {
			e.t.Errorf("rotations by %v, %d copied", by, copied)
		}
	})
}
