package caller_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
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

type token struct{ err error }

func (t token) Check(context.Context) error { return t.err }

func TestStillGood(t *testing.T) {
	now, broken := time.Unix(1_800_000_000, 0), errors.New("the store is broken")
	soon, past := now.Add(time.Second), now.Add(-time.Second)
	for name, tt := range map[string]struct {
		c             caller.Caller
		good, vouched fault.Code // of the errors, "" for none
		goodReason    string
		vouchedReason string
	}{
		"local":             {caller.Caller{Local: true}, "", "", "", ""},
		"good":              {caller.Caller{Ends: soon, Vouched: soon, Token: token{}}, "", "", "", ""},
		"expired":           {caller.Caller{Ends: past, Vouched: soon}, fault.Unauthenticated, fault.Unauthenticated, identity.TokenExpired, identity.TokenExpired},
		"not vouched for":   {caller.Caller{Ends: soon, Vouched: past}, "", fault.Unauthenticated, "", identity.InvalidToken},
		"its token expired": {caller.Caller{Token: token{caller.ErrExpired}}, fault.Unauthenticated, fault.Unauthenticated, identity.TokenExpired, identity.TokenExpired},
		"revoked":           {caller.Caller{Token: token{caller.ErrRevoked}}, fault.Unauthenticated, fault.Unauthenticated, identity.TokenRevoked, identity.TokenRevoked},
		"narrowed":          {caller.Caller{Token: token{caller.ErrChanged}}, fault.Forbidden, fault.Forbidden, identity.PermissionDenied, identity.PermissionDenied},
		"unknown":           {caller.Caller{Token: token{broken}}, fault.Internal, fault.Internal, "", ""},
	} {
		good, vouched := tt.c.StillGood(t.Context(), now), tt.c.StillVouched(t.Context(), now)
		if fault.CodeOf(good) != tt.good || fault.ReasonOf(good) != tt.goodReason {
			t.Errorf("%s: StillGood = %v", name, good)
		}
		if fault.CodeOf(vouched) != tt.vouched || fault.ReasonOf(vouched) != tt.vouchedReason {
			t.Errorf("%s: StillVouched = %v", name, vouched)
		}
	}
}
