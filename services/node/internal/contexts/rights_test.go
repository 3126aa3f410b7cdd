package contexts_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/contexts"
	"github.com/calimero-network/mero-go/services/node/internal/group"
	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// The right to make contexts is none to put them into the namespaces of others, and tells nothing about these.
func TestCreate_IntoTheNamespaceOfOthers(t *testing.T) {
	f := open(t, t.TempDir())
	theirs, unknown := f.make().Group, id.ID{1}
	name := group.Format(theirs)
	before := f.everything()
	for _, permissions := range []string{
		"context:create", "context", "context:create,group:list,group:create,namespace:list,namespace:create",
		"context:create,group:manage[" + group.Format(unknown) + "]",
		"context:create,group,application-binding[" + other.String() + "]",
	} {
		creation := contexts.Creation{Application: app, Group: &theirs}
		if _, err := f.Create(f.as(permissions), creation); fault.CodeOf(err) != fault.Forbidden {
			t.Errorf("%s: %v, want a refusal", permissions, err)
		}
	}
	if _, err := f.Create(f.as("context:create"), contexts.Creation{Application: app, Group: &unknown}); fault.CodeOf(err) != fault.Forbidden {
		t.Errorf("a group that is not there: %v, want the same refusal", err)
	}
	// Of a group of another application not even who manages it may make use, if a binding excludes that application.
	bound := f.as("context:create,group,application-binding[" + other.String() + "]")
	if _, err := f.Create(bound, contexts.Creation{Application: other, Group: &theirs}); fault.CodeOf(err) != fault.Forbidden {
		t.Errorf("a group of an application out of reach: %v, want a refusal", err)
	}
	if after := f.everything(); after != before {
		t.Errorf("%s, then %s", before, after)
	}
	for _, permissions := range []string{"admin", "context:create,group", "context:create,namespace", "context:create,group:manage[" + name + "]", "context:create,namespace:manage[" + name + "]"} {
		made, err := f.Create(f.as(permissions), contexts.Creation{Application: app, Group: &theirs})
		if err != nil || made.Group != theirs {
			t.Errorf("%s: %+v, %v", permissions, made, err)
		}
	}
}

// Who is bound to one identity does not delete the contexts of others by naming none, nor has an application do it.
func TestDelete_WithoutARequesterIsNoWayAroundTheBinding(t *testing.T) {
	f := open(t, t.TempDir())
	c, stranger := f.make(), id.ID{9}
	bound := fmt.Sprintf("context[%s,%s],context:delete", c.Context, stranger)
	for _, requester := range []id.ID{{}, c.Member, stranger} {
		if err := f.Delete(f.as(bound), c.Context, requester); fault.CodeOf(err) != fault.Forbidden {
			t.Errorf("as %s: %v, want a refusal", requester, err)
		}
	}
	// An application that is asked for it: the call itself is allowed, what it leads to is not.
	from := f.make()
	both := bound + fmt.Sprintf(",context[%s],context:execute[%s]", from.Context, from.Context)
	if _, err := f.Execute(f.as(both), contexts.Call{Context: from.Context, Method: "delete_another", Input: []byte(quoted(c.Context))}); err != nil {
		t.Fatal(err)
	}
	if x := f.record(c.Context); x.ID != c.Context {
		t.Error("the context is gone")
	}
	own := fmt.Sprintf("context[%s,%s],context:delete", c.Context, c.Member)
	if err := f.Delete(f.as(own), c.Context, id.ID{}); err != nil {
		t.Errorf("as the own identity: %v", err)
	}
}

// lease is a token that can be revoked.
type lease struct{ revoked atomic.Bool }

func (l *lease) Check(context.Context) error {
	if l.revoked.Load() {
		return caller.ErrRevoked
	}
	return nil
}

// A queue of calls before a busy context is no store of rights: what was revoked meanwhile is not executed.
func TestExecute_RevokedWhileItWaitsForItsTurn(t *testing.T) {
	f := openWith(t, t.TempDir(), setup{limit: time.Minute})
	c := f.make().Context
	busy, stop := context.WithCancel(f.ctx)
	spun := make(chan error, 1)
	go func() {
		_, err := f.Execute(busy, contexts.Call{Context: c, Method: "add_and_spin"})
		spun <- err
	}()
	waitFor(t, func() bool { return f.Busy(c) })
	token := &lease{}
	ctx := caller.With(context.Background(), caller.Caller{Key: "k", Permissions: permission.NewSet([]string{"context:execute"}), Token: token})
	waited := make(chan error, 1)
	go func() {
		_, err := f.Execute(ctx, contexts.Call{Context: c, Method: "add"})
		waited <- err
	}()
	waitFor(t, func() bool { return f.Users(c) == 2 })
	token.revoked.Store(true)
	stop()
	if err := <-waited; fault.CodeOf(err) != fault.Unauthenticated || fault.ReasonOf(err) != identity.TokenRevoked {
		t.Errorf("the call of the revoked caller: %v", err)
	}
	if err := <-spun; err == nil {
		t.Error("the busy call succeeded")
	}
	if got := f.must(c, "n", ""); got != "1" {
		t.Errorf("n = %s, want 1", got)
	}
}
