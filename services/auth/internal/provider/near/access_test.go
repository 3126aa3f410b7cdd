package near_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/challenge"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc/jsonrpctest"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/near"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/near/neartest"
)

// accessKey is a result of view_access_key with this permission, as JSON.
func accessKey(permission string) jsonrpctest.Reply {
	return jsonrpctest.Result(`{"nonce":85,"permission":` + permission + `,"block_height":19884918,"block_hash":"G"}`)
}

// What the node answers and what it comes to. Only a plain yes is one; only a plain no is the caller's fault, with one
// text for all; whatever else the node says is the node's.
func TestAuthenticate_AnswersOfTheRPC(t *testing.T) {
	s, w := newSite(t), neartest.NewWallet("alice")
	canary := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer canary.Close()
	yes, no, down := error(nil), provider.ErrRejected, provider.ErrUnavailable
	block := `,"block_height":19884918,"block_hash":"G"}`
	for name, tt := range map[string]struct {
		reply jsonrpctest.Reply
		want  error
	}{
		"full access":                       {jsonrpctest.Result(neartest.FullAccess), yes},
		"full access, escaped":              {accessKey(`"Full\u0041ccess"`), yes},
		"function calls":                    {accessKey(`{"FunctionCall":{"allowance":"1","receiver_id":"` + recipient + `","method_names":[]}}`), no},
		"function calls and more":           {accessKey(`{"FullAccess":{},"FunctionCall":{}}`), no},
		"full access as an object":          {accessKey(`{"FullAccess":{}}`), no},
		"full access in another case":       {accessKey(`"fullaccess"`), no},
		"full access with a space":          {accessKey(`"FullAccess "`), no},
		"no permission as text":             {accessKey(`""`), no},
		"another permission":                {accessKey(`"GasKeyFullAccess"`), no},
		"unknown key":                       {jsonrpctest.Failure(neartest.Cause("UNKNOWN_ACCESS_KEY")), no},
		"unknown account":                   {jsonrpctest.Failure(neartest.Cause("UNKNOWN_ACCOUNT")), no},
		"invalid account":                   {jsonrpctest.Failure(neartest.Cause("INVALID_ACCOUNT")), no},
		"a list of permissions":             {accessKey(`["FullAccess"]`), down},
		"true":                              {accessKey(`true`), down},
		"null":                              {accessKey(`null`), down},
		"an empty object":                   {accessKey(`{}`), down},
		"no permission":                     {jsonrpctest.Result(`{"nonce":85` + block), down},
		"permission in another case":        {jsonrpctest.Result(`{"Permission":"FullAccess"` + block), down},
		"two permissions":                   {jsonrpctest.Result(`{"permission":"FullAccess","permission":{"FunctionCall":{}}` + block), down},
		"permission further down":           {jsonrpctest.Result(`{"value":{"permission":"FullAccess"}` + block), down},
		"an error among the result":         {jsonrpctest.Result(`{"error":"access key does not exist","permission":"FullAccess"` + block), down},
		"an error as the result":            {jsonrpctest.Result(`{"error":"access key does not exist while viewing","logs":[]` + block), down},
		"a text":                            {jsonrpctest.Result(`"FullAccess"`), down},
		"a list":                            {jsonrpctest.Result(`[` + neartest.FullAccess + `]`), down},
		"no block":                          {jsonrpctest.Result(`{"nonce":85,"permission":"FullAccess"}`), down},
		"block 0":                           {jsonrpctest.Result(`{"nonce":85,"permission":"FullAccess","block_height":0,"block_hash":"G"}`), down},
		"a block before the first":          {jsonrpctest.Result(`{"nonce":85,"permission":"FullAccess","block_height":-1,"block_hash":"G"}`), down},
		"unknown block":                     {jsonrpctest.Failure(neartest.Cause("UNKNOWN_BLOCK")), down},
		"unavailable shard":                 {jsonrpctest.Failure(neartest.Cause("UNAVAILABLE_SHARD")), down},
		"not synced":                        {jsonrpctest.Failure(neartest.Cause("NO_SYNCED_BLOCKS")), down},
		"no cause":                          {jsonrpctest.Failure(`{"name":"HANDLER_ERROR","data":"UNKNOWN_ACCESS_KEY"}`), down},
		"a cause as a text":                 {jsonrpctest.Failure(`{"name":"HANDLER_ERROR","cause":"UNKNOWN_ACCESS_KEY"}`), down},
		"a cause without a name":            {jsonrpctest.Failure(`{"name":"HANDLER_ERROR","cause":{"info":{}}}`), down},
		"another name":                      {jsonrpctest.Failure(`{"name":"INTERNAL_ERROR","cause":{"name":"UNKNOWN_ACCESS_KEY"}}`), down},
		"no name, as of old":                {jsonrpctest.Failure(`{"code":-32000,"message":"Server error","data":"access key does not exist"}`), down},
		"rate limit":                        {jsonrpctest.Status(429, `{"jsonrpc":"2.0","id":$ID,"result":`+neartest.FullAccess+`}`), down},
		"an answer to another":              {jsonrpctest.Raw(`{"jsonrpc":"2.0","id":-1,"result":` + neartest.FullAccess + `}`), down},
		"HTML":                              {jsonrpctest.Raw(`<html>`), down},
		"cut off":                           {jsonrpctest.CutOff, down},
		"endless":                           {jsonrpctest.Endless, down},
		"a redirect":                        {jsonrpctest.Redirect(307, canary.URL), down},
		"hangs up":                          {jsonrpctest.HangUp, down},
		"hangs up once, then full access":   {jsonrpctest.InTurn(jsonrpctest.HangUp, jsonrpctest.Result(neartest.FullAccess)), yes},
		"hangs up once, then function call": {jsonrpctest.InTurn(jsonrpctest.HangUp, accessKey(`{"FunctionCall":{}}`)), no},
	} {
		t.Run(name, func(t *testing.T) {
			client := jsonrpc.New(jsonrpc.Options{Name: "near", URL: s.rpc.URL, Timeout: time.Minute, Now: time.Now})
			defer client.Close()
			s.RPC = client
			s.rpc.Set(tt.reply)
			got, err := s.authenticate(t, signed(t, w))
			if !errors.Is(err, tt.want) || (tt.want == nil && err != nil) {
				t.Fatalf("Authenticate = %+v, %v, want %v", got, err, tt.want)
			}
			if err != nil && got != (provider.Proof{}) {
				t.Errorf("a refused login has the proof %+v", got)
			}
			if text := "authentication failed: the public key has no full access to the account"; errors.Is(err, no) && err.Error() != text {
				t.Errorf("the refusal says %q, want %q", err, text)
			}
		})
	}
}

// An account that never received anything is not on the chain yet: the key that it is named after controls it. Once it
// is there, the owner may have taken that key away.
func TestAuthenticate_ImplicitAccounts(t *testing.T) {
	w, other := neartest.NewWallet("implicit"), neartest.NewWallet("mallory")
	for _, tt := range []struct {
		name, account string
		reply         jsonrpctest.Reply
		want          error
	}{
		{"on the chain", w.Implicit, jsonrpctest.Result(neartest.FullAccess), nil},
		{"never funded", w.Implicit, jsonrpctest.Failure(neartest.Cause("UNKNOWN_ACCOUNT")), nil},
		{"its key was taken away", w.Implicit, jsonrpctest.Failure(neartest.Cause("UNKNOWN_ACCESS_KEY")), provider.ErrRejected},
		{"its key is limited now", w.Implicit, accessKey(`{"FunctionCall":{}}`), provider.ErrRejected},
		{"named after another key, never funded", other.Implicit, jsonrpctest.Failure(neartest.Cause("UNKNOWN_ACCOUNT")), provider.ErrRejected},
		{"named after another key", other.Implicit, jsonrpctest.Failure(neartest.Cause("UNKNOWN_ACCESS_KEY")), provider.ErrRejected},
		{"the node is down", w.Implicit, jsonrpctest.Status(502, ""), provider.ErrUnavailable},
		{"the node says nothing", w.Implicit, jsonrpctest.Failure(`{}`), provider.ErrUnavailable},
	} {
		s := newSite(t)
		s.rpc.Set(tt.reply)
		got, err := s.authenticate(t, signed(t, w).with(map[string]any{"wallet_address": tt.account}))
		if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: %+v, %v, want %v", tt.name, got, err, tt.want)
		}
		if len(s.rpc.Requests()) != 1 {
			t.Errorf("%s: the chain was not asked exactly once", tt.name)
		}
	}
}

// A caller who leaves is neither refused nor told that the node is down.
func TestAuthenticate_CallerHangsUp(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithCancel(t.Context())
	stall := s.rpc.Stall()
	s.rpc.Set(func(w http.ResponseWriter, r jsonrpctest.Request) {
		cancel()
		stall(w, r)
	})
	l := signed(t, neartest.NewWallet("alice"))
	_, err := s.Authenticate(ctx, attemptOf(t, l))
	if !errors.Is(err, context.Canceled) || errors.Is(err, provider.ErrUnavailable) || errors.Is(err, provider.ErrRejected) {
		t.Errorf("Authenticate = %v, want context.Canceled alone", err)
	}
}

// A stalling node delays logins by its time-out and no more, and when it comes back so do they.
func TestAuthenticate_OutageAndRecovery(t *testing.T) {
	w := neartest.NewWallet("alice")
	s := newSite(t)
	now := time.Unix(1, 0)
	client := jsonrpc.New(jsonrpc.Options{Name: "near", URL: s.rpc.URL, Timeout: 50 * time.Millisecond, Now: func() time.Time { return now }})
	defer client.Close()
	s.RPC = client
	s.rpc.Set(s.rpc.Stall())
	for range 8 {
		if _, err := s.authenticate(t, signed(t, w)); !errors.Is(err, provider.ErrUnavailable) {
			t.Fatalf("Authenticate = %v, want ErrUnavailable", err)
		}
	}
	if h := client.Health(); h.State != jsonrpc.Open || h.Refused != 3 {
		t.Errorf("Health = %+v, want an open breaker after 5 failures", h)
	}
	s.rpc.Set(jsonrpctest.Result(neartest.FullAccess))
	now = now.Add(10 * time.Second)
	deadline := time.Now().Add(time.Minute)
	for {
		_, err := s.authenticate(t, signed(t, w))
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the node is back and logins still fail: %v", err)
		}
		now = now.Add(10 * time.Second) // a busy machine may miss the short time-out of this test
	}
}

func attemptOf(t testing.TB, l login) provider.Attempt {
	t.Helper()
	data, err := json.Marshal(l.data)
	if err != nil {
		t.Fatal(err)
	}
	return provider.Attempt{
		Method:    "near_wallet",
		PublicKey: l.publicKey, Data: data, UseChallenge: func(context.Context, challenge.Claims) error { return nil },
	}
}

// The key for the node goes to the node and nowhere else.
func TestAuthenticate_APIKey(t *testing.T) {
	s := newSite(t, func(c *config.Near) { c.APIKey = "hunter2" })
	client := jsonrpc.New(jsonrpc.Options{Name: "near", URL: s.rpc.URL, APIKey: "hunter2", Timeout: time.Minute, Now: time.Now})
	defer client.Close()
	s.RPC = client
	if _, err := s.authenticate(t, signed(t, neartest.NewWallet("alice"))); err != nil {
		t.Fatal(err)
	}
	if got := s.rpc.Requests()[0].HTTP.Header.Get("X-Api-Key"); got != "hunter2" {
		t.Errorf("X-Api-Key = %q", got)
	}
	s.rpc.Set(jsonrpctest.Raw("hunter2"))
	if _, err := s.authenticate(t, signed(t, neartest.NewWallet("alice"))); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Authenticate = %v, want an error without the key", err)
	}
	public, err := json.Marshal(s.Info())
	if err != nil || strings.Contains(string(public), "hunter2") {
		t.Errorf("Info = %s, %v, want it without the key", public, err)
	}
}

// What checkAccessKey takes for a yes must be one for encoding/json too.
func FuzzCheckAccessKey(f *testing.F) {
	f.Add([]byte(neartest.FullAccess))
	f.Add([]byte(`{"nonce":1,"permission":{"FunctionCall":{"allowance":null,"receiver_id":"a","method_names":[]}},"block_height":1}`))
	f.Add([]byte(`{"permission":"FullAccess","Permission":1,"block_height":1}`))
	f.Add([]byte(`{"permission":"FullAccess","permi\u017fsion":1,"block_height":1}`))
	f.Add([]byte(`{"error":"x","permission":"FullAccess","block_height":1}`))
	f.Add([]byte(`{"permission":"Full\u0041ccess","block_height":18446744073709551616}`))
	f.Fuzz(func(t *testing.T, result []byte) {
		err := near.CheckAccessKey(result)
		if err != nil {
			if !errors.Is(err, provider.ErrRejected) && !errors.Is(err, provider.ErrUnavailable) {
				t.Errorf("%q: %v is no outcome", result, err)
			}
			return
		}
		var plain struct {
			Permission  any              `json:"permission"`
			BlockHeight uint64           `json:"block_height"`
			Error       *json.RawMessage `json:"error"`
		}
		if err := json.Unmarshal(result, &plain); err != nil || plain.Permission != "FullAccess" || plain.BlockHeight == 0 || plain.Error != nil {
			t.Errorf("%q was taken for full access: %+v, %v", result, plain, err)
		}
	})
}
