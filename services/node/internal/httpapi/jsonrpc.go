package httpapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/node/internal/jsonrpc"
)

// MaxRPCBody is the largest body of POST /jsonrpc in bytes: it holds the arguments of a call at their limit, escaped as text may be.
const MaxRPCBody = jsonrpc.MaxArgs + jsonrpc.MaxArgs/2

// rpc serves POST /jsonrpc. A notification is answered with an empty body.
func (a *API) rpc(c *call) error {
	// A page of another origin can send any text without asking first, but not as JSON.
	if t := mediaType(c); t != "application/json" && !strings.HasSuffix(t, "+json") {
		return fault.New(fault.UnsupportedMedia, "the body must be application/json")
	}
	body, err := readBody(c, MaxRPCBody)
	if err != nil {
		return err
	}
	answer, class := a.RPC.Handle(c.ctx(), body)
	if c.ctx().Err() != nil { // also what the end of the node cut off
		rec := recordOf(c)
		rec.status, rec.err = statusClientGone, context.Cause(c.ctx())
	}
	status := map[jsonrpc.Class]int{
		jsonrpc.Answered: http.StatusOK, jsonrpc.Malformed: http.StatusBadRequest, jsonrpc.Invalid: http.StatusUnprocessableEntity,
	}[class]
	if answer == nil {
		return c.NoContent(status)
	}
	return c.JSONBlob(status, answer)
}
