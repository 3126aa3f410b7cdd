// Package caller is who makes a request, as far as the node has verified it. It travels in the request's context.
package caller

import (
	"context"
	"time"

	"github.com/calimero-network/mero-go/pkg/permission"
)

// Caller is the verified holder of a key. The zero Caller, which public routes see, may do nothing.
type Caller struct {
	Key         string          // key id; "" in auth mode none
	Permissions *permission.Set // never nil when it comes from [From]
	// Expires is when the caller's token ends, and with it every stream that the caller opened. The zero time
	// means that it is not known; then no stream opens, unless Local.
	Expires time.Time
	// Ends is Expires as far as it ends requests: by how much the clocks may differ later, and never before the request
	// came, since the gate took the token then. What nobody dates ends with Vouched. The zero time: Token knows.
	Ends time.Time
	// Vouched is until when the gate's word for the request holds, its assertion. The zero time: there is none.
	Vouched time.Time
	// Local is the caller of auth mode none: everything is allowed, and nothing expires.
	Local bool
	// Token is what the caller came with in auth mode embedded, where the node learns of revocations; else nil.
	Token Token
}

var nothing = permission.NewSet(nil)

type key struct{}

// With returns ctx carrying c.
func With(ctx context.Context, c Caller) context.Context { return context.WithValue(ctx, key{}, c) }

// From returns the caller of ctx, the zero Caller if there is none.
func From(ctx context.Context) Caller {
	c, _ := ctx.Value(key{}).(Caller)
	if c.Permissions == nil {
		c.Permissions = nothing
	}
	return c
}
