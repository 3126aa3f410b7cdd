package app

import (
	"net/http"

	"github.com/calimero-network/mero-go/pkg/assertion"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/login"
	"github.com/calimero-network/mero-go/services/auth/internal/operate"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// Parts are what a Service is made of, for callers in the same process that must reach below the HTTP surface. They
// belong to the Service and end with it.
type Parts struct {
	Handler    http.Handler // of the data plane
	DB         kv.DB
	Store      *store.Store
	Issuer     *login.Issuer
	Gate       *gate.Gate // as configured now: a reload makes another
	Assertions *assertion.File
	Operate    *operate.Service
	RPC        []*jsonrpc.Client // that the providers ask
}

// Parts returns the parts of a.
func (a *Service) Parts() Parts {
	return Parts{
		Handler: a.Handler(), DB: a.db, Store: a.records, Issuer: a.issuer, Gate: a.Gate(), Assertions: a.operate.Shared.File(),
		Operate: a.operate, RPC: a.rpc,
	}
}
