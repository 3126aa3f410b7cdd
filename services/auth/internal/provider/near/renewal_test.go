package near_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc/jsonrpctest"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/near"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/near/neartest"
)

var _ provider.Renewer = (*near.Provider)(nil)

// What the node says of the key of a login long ago, and what it comes to: only a plain no ends a session.
func TestRenew(t *testing.T) {
	s, w := newSite(t), neartest.NewWallet("alice")
	proof, err := s.authenticate(t, signed(t, w))
	if err != nil {
		t.Fatal(err)
	}
	s.rpc.Requests()
	no, down := provider.ErrRejected, provider.ErrUnavailable
	for name, tt := range map[string]struct {
		reply jsonrpctest.Reply
		want  error
	}{
		"full access":                   {jsonrpctest.Result(neartest.FullAccess), nil},
		"the key was taken away":        {jsonrpctest.Failure(neartest.Cause("UNKNOWN_ACCESS_KEY")), no},
		"the account was deleted":       {jsonrpctest.Failure(neartest.Cause("UNKNOWN_ACCOUNT")), no},
		"only function calls are left":  {accessKey(`{"FunctionCall":{"allowance":"1","receiver_id":"x","method_names":[]}}`), no},
		"a node without blocks":         {jsonrpctest.Failure(neartest.Cause("NO_SYNCED_BLOCKS")), down},
		"a node that is confused":       {jsonrpctest.Failure(`{"name":"INTERNAL_ERROR","cause":{"name":"UNKNOWN_ACCESS_KEY"}}`), down},
		"a lie without a block":         {jsonrpctest.Result(`{"permission":{"FunctionCall":{}},"block_height":0}`), down},
		"an error of old":               {jsonrpctest.Result(`{"error":"access key does not exist","block_height":1}`), down},
		"an HTTP error":                 {jsonrpctest.Status(500, ""), down},
		"an answer to somebody else":    {jsonrpctest.Raw(`{"jsonrpc":"2.0","id":"x","error":` + neartest.Cause("UNKNOWN_ACCESS_KEY") + `}`), down},
		"a server that hangs up":        {jsonrpctest.HangUp, down},
		"a redirect":                    {jsonrpctest.Redirect(302, "http://127.0.0.1:1"), down},
		"a permission that is an error": {accessKey(`null`), down},
	} {
		s = newSite(t) // each with a breaker of its own
		s.rpc.Set(tt.reply)
		if err := s.Renew(t.Context(), proof.Renewal); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		var asked map[string]string
		if requests := s.rpc.Requests(); len(requests) == 0 {
			t.Errorf("%s: nobody was asked", name)
		} else if err := json.Unmarshal(requests[0].Params, &asked); err != nil || asked["account_id"] != "alice.testnet" || asked["public_key"] != w.PublicKey {
			t.Errorf("%s: asked %s, %v", name, requests[0].Params, err)
		}
	}
}

// A server that stalls costs a refresh the deadline of the RPC client and no more.
func TestRenew_StallingServer(t *testing.T) {
	s := newSite(t)
	s.rpc.Set(s.rpc.Stall())
	s.RPC = jsonrpc.New(jsonrpc.Options{Name: "near", URL: s.rpc.URL, Timeout: 50 * time.Millisecond, Now: time.Now})
	defer s.RPC.Close()
	err := s.Renew(t.Context(), "testnet alice.testnet "+neartest.NewWallet("alice").PublicKey)
	if !errors.Is(err, provider.ErrUnavailable) {
		t.Errorf("Renew = %v, want ErrUnavailable", err)
	}
}

func TestRenew_NobodyIsAsked(t *testing.T) {
	w := neartest.NewWallet("alice")
	mainnet := newSite(t, func(c *config.Near) { c.Network = "mainnet" })
	if err := mainnet.Renew(t.Context(), "testnet alice.testnet "+w.PublicKey); !errors.Is(err, provider.ErrUnavailable) {
		t.Errorf("a session of another network: %v, want ErrUnavailable: its node knows nothing of the account", err)
	}
	s := newSite(t)
	for _, text := range []string{"", "alice.testnet", "testnet alice.testnet ed25519:x", "testnet alice.testnet " + w.PublicKey + " more"} {
		if err := s.Renew(t.Context(), text); err == nil || errors.Is(err, provider.ErrRejected) {
			t.Errorf("Renew(%q) = %v, want an error that denies nothing", text, err)
		}
	}
	asked := len(s.rpc.Requests()) + len(mainnet.rpc.Requests())
	s.RPC = nil
	if err := s.Renew(t.Context(), "testnet alice.testnet "+w.PublicKey); err != nil || asked != 0 {
		t.Errorf("without an RPC node: %v, and %d questions before", err, asked)
	}
}
