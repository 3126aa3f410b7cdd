package caller_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/id"
)

var (
	ctx1, ctx2 = id.ID{1}, id.ID{2}
	app1, app2 = id.ID{3}, id.ID{4}
	ann, bob   = id.ID{5}, id.ID{6}
)

// holding replaces the short names of the test by ids.
func holding(list string) caller.Caller {
	list = strings.NewReplacer("C1", ctx1.String(), "C2", ctx2.String(), "A1", app1.String(), "ANN", ann.String(), "BOB", bob.String()).Replace(list)
	return caller.Caller{Permissions: permission.NewSet(permission.Split(list))}
}

func TestMayExecute_ResolvedValues(t *testing.T) {
	for _, tt := range []struct {
		list                   string
		context, app, identity id.ID
		method                 string
		want                   bool
	}{
		{"context:execute", ctx1, app1, ann, "get", true},
		{"context:execute[C1]", ctx1, app1, ann, "get", true},
		{"context:execute[C1]", ctx2, app1, ann, "get", false},
		{"context:execute[C1,ANN,get]", ctx1, app1, ann, "get", true},
		{"context:execute[C1,ANN,get]", ctx1, app1, ann, "set", false},
		{"context:execute[C1,ANN,get]", ctx1, app1, bob, "get", false},
		{"context:execute[C1,ANN,get]", ctx2, app1, ann, "get", false},
		{"context[C1],context:execute", ctx1, app1, bob, "set", true},
		{"context[C1],context:execute", ctx2, app1, bob, "set", false},
		{"context[C1,ANN],context:execute", ctx1, app1, bob, "set", false},
		{"context[C1,ANN],context:execute", ctx1, app1, ann, "set", true},
		{"application-binding[A1],context:execute", ctx1, app1, ann, "get", true},
		{"application-binding[A1],context:execute", ctx1, app2, ann, "get", false},
		{"application-binding[A1],context:execute,admin", ctx1, app2, ann, "get", true},
		{"context[C1],admin", ctx2, app2, ann, "get", true},
		{"context:list,blob", ctx1, app1, ann, "get", false},
		// A method that no permission can name is for those who may call all of them.
		{"context:execute[C1]", ctx1, app1, ann, strings.Repeat("m", 200), true},
		{"context:execute[C1,,get]", ctx1, app1, ann, strings.Repeat("m", 200), false},
		{"context:execute[C1,,get]", ctx1, app1, ann, "get,set", false},
	} {
		if got := holding(tt.list).MayExecute(tt.context, tt.app, tt.identity, tt.method); got != tt.want {
			t.Errorf("%s: execute[%s,%s,%.10s] of %s = %v, want %v", tt.list, tt.context, tt.identity, tt.method, tt.app, got, tt.want)
		}
	}
}

func TestExecutors(t *testing.T) {
	for _, tt := range []struct {
		list, method string
		want         []id.ID
		anybody      bool
	}{
		{"admin", "get", nil, true},
		{"context:execute", "get", nil, true},
		{"context:execute[C1,ANN]", "get", []id.ID{ann}, false},
		{"context:execute[C1,BOB],context:execute[C1,ANN,get]", "get", []id.ID{ann, bob}, false},
		{"context:execute[C1,BOB],context:execute[C1,ANN,get]", "set", []id.ID{bob}, false},
		{"context[C1,BOB],context:execute", "get", []id.ID{bob}, false},
		{"context[C2],context:execute", "get", nil, false},
		{"context:execute[C1,alice]", "get", nil, false},
		{"application-binding[other],context:execute", "get", nil, false},
		{"blob", "get", nil, false},
	} {
		got, anybody := holding(tt.list).Executors(ctx1, app1, tt.method)
		if !slices.Equal(got, tt.want) || anybody != tt.anybody {
			t.Errorf("%s calling %s: %v %v, want %v %v", tt.list, tt.method, got, anybody, tt.want, tt.anybody)
		}
	}
}

func TestMayIn(t *testing.T) {
	read, leave := permission.MustParse("context:read"), permission.MustParse("context:leave")
	for _, tt := range []struct {
		list                   string
		read, leave, subscribe bool // on context 1 of application 1, leave as ann
	}{
		{"admin", true, true, true},
		{"context:list", true, false, false},
		{"context:execute[C1,ANN]", false, true, true},
		{"context:execute[C1,BOB]", false, false, true},
		{"context[C2],context", false, false, false},
		{"context[C1,BOB],context", true, false, true},
		{"application-binding[other],context", false, false, false},
		{"", false, false, false},
	} {
		c := holding(tt.list)
		got := fmt.Sprint(c.MayIn(read, ctx1, app1), c.MayInAs(leave, ctx1, app1, ann), c.MaySubscribe(ctx1, app1))
		if want := fmt.Sprint(tt.read, tt.leave, tt.subscribe); got != want {
			t.Errorf("%s: read, leave, subscribe = %s, want %s", tt.list, got, want)
		}
	}
}

func TestMayOfGroupsAndOthers(t *testing.T) {
	group := strings.Repeat("ab", 32)
	for list, want := range map[string]bool{
		"group:list[" + group + "]": true, "namespace:list": true, "group": true, "group:manage": false, "context": false,
		"group:list[" + strings.Repeat("cd", 32) + "]": false,
	} {
		if got := holding(list).MaySubscribeGroup(group); got != want {
			t.Errorf("%s: subscribe to the group = %v, want %v", list, got, want)
		}
	}
	install := permission.MustParse("application:install")
	if !holding("application").May(install) || holding("application:install[A1]").May(install) {
		t.Error("May is about all objects")
	}
	if err := caller.Denied(); fault.CodeOf(err) != fault.Forbidden || fault.ReasonOf(err) != identity.PermissionDenied {
		t.Errorf("Denied() = %v", err)
	}
}
