package contexts_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/contexts"
	"github.com/calimero-network/mero-go/services/node/internal/event"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

func TestFollow_CallsOfOtherContexts(t *testing.T) {
	f := open(t, t.TempDir())
	from, to := f.make().Context, f.make().Context
	f.must(from, "add_there", quoted(to))
	if got := f.must(to, "n", ""); got != "2" {
		t.Errorf("n = %s there, want 2", got)
	}
	if _, err := f.call(from, "add_there_and_fail", quoted(to)); err == nil {
		t.Fatal("the call succeeded")
	}
	f.must(from, "add_there", quoted(id.ID{9})) // its own call succeeds; the other fails in the log
	if got := f.must(to, "n", ""); got != "2" {
		t.Errorf("n = %s, a call that failed led to another", got)
	}
}

// The calls that a call leads to have the rights of the caller, whatever the application asks for.
func TestFollow_CrossContextCallCannotEscapeTheCallersRights(t *testing.T) {
	f := open(t, t.TempDir())
	from, to := f.make().Context, f.make().Context
	names := strings.NewReplacer("FROM", from.String(), "TO", to.String())
	for _, tt := range []struct {
		permissions string
		want        string // n there, afterwards
	}{
		{"context:execute[FROM]", "1"},
		{"context[FROM],context:execute", "1"},
		{"context:execute[FROM],context:execute[TO,,n]", "1"},
		{"context:execute[FROM],context:execute[TO,,add]", "2"},
		{"context:execute", "3"},
	} {
		call := contexts.Call{Context: from, Method: "add_there", Input: []byte(quoted(to))}
		if _, err := f.Execute(f.as(names.Replace(tt.permissions)), call); err != nil {
			t.Fatal(err)
		}
		if got := f.must(to, "n", ""); got != tt.want {
			t.Errorf("%s: n = %s there, want %s", tt.permissions, got, tt.want)
		}
	}
}

func TestFollow_EventHandlers(t *testing.T) {
	f := open(t, t.TempDir())
	c := f.make().Context
	f.must(c, "add_and_handle", `"x"`)
	f.Drain(t.Context())
	if got := f.must(c, "handled", ""); got != "1" {
		t.Errorf("handled = %s, want 1", got)
	}
	limited := f.as("context:execute[" + c.String() + ",,add_and_handle]")
	if _, err := f.Execute(limited, contexts.Call{Context: c, Method: "add_and_handle", Input: []byte(`"x"`)}); err != nil {
		t.Fatal(err)
	}
	f.Drain(t.Context())
	if got := f.must(c, "handled", ""); got != "1" {
		t.Errorf("handled = %s: the handler ran without the right to it", got)
	}
	f.verify(c)
}

func TestFollow_IsBounded(t *testing.T) {
	f := open(t, t.TempDir())
	f.FollowFor(time.Hour) // here it is their number that ends them
	c := f.make().Context
	f.must(c, "recurse", `"x"`) // three handlers at each level, without end
	f.Drain(t.Context())
	if got := f.must(c, "n", ""); got != "102" {
		t.Errorf("n = %s, want 1, the call's 1 and 100 that follow", got)
	}
	f.verify(c)
}

// A handler can take as long as it likes: the call that led to it was answered before.
func TestFollow_TheAnswerDoesNotWaitForHandlers(t *testing.T) {
	f := openWith(t, t.TempDir(), setup{})
	f.FollowFor(time.Hour)
	c, free := f.make().Context, f.make().Context
	f.must(c, "add_and_handle_forever", `"x"`)
	waitFor(t, func() bool { return f.Users(c) == 1 }) // the handler runs, and nobody else is there
	f.must(free, "add_and_handle", `"x"`)
	waitFor(t, func() bool { return f.must(free, "handled", "") == "1" }) // other contexts do not wait for it
	if f.Users(c) != 1 {
		t.Fatal("the handler has ended")
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	f.Drain(over) // does not wait any longer
	f.close()
	if f.Users(c) != 0 {
		t.Error("the handler outlives the manager")
	}
}

// Handlers of one context are called in the order in which its calls were committed, whichever caller hears first.
func TestFollow_HandlersInTheOrderOfTheCalls(t *testing.T) {
	f := open(t, t.TempDir())
	c := f.make().Context
	sub := f.bus.NewSubscriber()
	defer sub.Close()
	sub.Subscribe(event.OfContext(c))
	const calls = 60
	var wg sync.WaitGroup
	for i := range calls {
		wg.Go(func() {
			if _, err := f.call(c, "add_and_follow", fmt.Sprintf("%02d,", i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	f.Drain(t.Context())
	var want []byte
	for len(want) < 3*calls {
		m, err := sub.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var told struct {
			Data struct {
				Events []struct{ Data []uint16 }
			}
		}
		if err := json.Unmarshal(m.JSON, &told); err != nil {
			t.Fatal(err)
		}
		for _, e := range told.Data.Events {
			for _, b := range e.Data {
				want = append(want, byte(b))
			}
		}
	}
	var got []byte
	if err := f.db.View(f.ctx, func(tx *store.Tx) error {
		got, _ = tx.Entry(store.Shared, c, []byte("followed"))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("the handlers were called for\n%s, the calls were\n%s", got, want)
	}
	f.verify(c)
}

func TestFollow_ApplicationsMakeAndDeleteContexts(t *testing.T) {
	f := open(t, t.TempDir())
	c := f.make()
	all := func() []store.Context {
		list, err := f.List(f.ctx, func(x store.Context) bool { return x.ID != c.Context })
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	only := "context:execute[" + c.Context.String() + "]"
	call := func(permissions, method string, about id.ID) {
		t.Helper()
		if _, err := f.Execute(f.as(permissions), contexts.Call{Context: c.Context, Method: method, Input: []byte(quoted(about))}); err != nil {
			t.Fatal(err)
		}
	}
	call(only, "create_another", other)
	if got := all(); len(got) != 0 {
		t.Errorf("a caller without the right made %v", got)
	}
	call(only+",context:create", "create_another", other)
	made := all()
	if len(made) != 1 || made[0].Application != other || made[0].Name != "made by an application" {
		t.Fatalf("made: %+v", made)
	}
	call(only, "delete_another", made[0].ID)
	if got := all(); len(got) != 1 {
		t.Error("a caller without the right deleted a context")
	}
	call(only+",context:delete", "delete_another", made[0].ID)
	if got := all(); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}
