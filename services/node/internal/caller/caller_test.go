package caller_test

import (
	"testing"

	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
)

func TestFrom_NobodyMayDoNothing(t *testing.T) {
	c := caller.From(t.Context())
	if c.Key != "" || c.Local || c.Permissions.Allows(permission.MustParse("blob:list")) {
		t.Errorf("the caller of an empty context: %+v", c)
	}
	want := caller.Caller{Key: "k", Permissions: permission.NewSet([]string{"blob"})}
	if got := caller.From(caller.With(t.Context(), want)); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
