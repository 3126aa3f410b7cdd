package near_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/near/neartest"
)

func TestInfo(t *testing.T) {
	for name, tt := range map[string]struct {
		config     config.Near
		noRPC      bool
		recipients []string
		rpcURL     string
		reason     string
	}{
		"all":              {config.Near{Network: "testnet", RPCURL: "https://rpc.example", Recipients: []string{"a", "b"}}, false, []string{"a", "b"}, "https://rpc.example", ""},
		"legacy":           {config.Near{Network: "testnet", AllowLegacyRecipient: true}, false, []string{"calimero"}, "", ""},
		"legacy last":      {config.Near{Network: "testnet", Recipients: []string{"a"}, AllowLegacyRecipient: true}, false, []string{"a", "calimero"}, "", ""},
		"legacy once":      {config.Near{Network: "testnet", Recipients: []string{"calimero", "a"}, AllowLegacyRecipient: true}, false, []string{"calimero", "a"}, "", ""},
		"no recipient":     {config.Near{Network: "testnet"}, false, []string{}, "", "set public_url, or near.recipients"},
		"no RPC node":      {config.Near{Network: "localnet", Recipients: []string{"a"}}, true, []string{"a"}, "", "set near.rpc_url"},
		"a key in the URL": {config.Near{Network: "mainnet", RPCURL: "https://rpc.example/hunter2", Recipients: []string{"a"}}, false, []string{"a"}, "https://rpc.mainnet.near.org", ""},
		"a key, no public": {config.Near{Network: "localnet", RPCURL: "https://rpc.example/?k=hunter2", Recipients: []string{"a"}}, false, []string{"a"}, "", ""},
	} {
		s := newSite(t)
		s.Config = tt.config
		s.Config.WalletURL, s.Config.HelperURL = "https://wallet.example", "https://helper.example"
		if tt.noRPC {
			s.RPC = nil
		}
		got := s.Info()
		want := provider.Info{
			Type: "wallet", Description: got.Description, Configured: tt.reason == "", Reason: tt.reason,
			Config: map[string]any{ // contract check 3
				"network": tt.config.Network, "rpc_url": tt.rpcURL, "wallet_url": "https://wallet.example",
				"helper_url": "https://helper.example", "recipients": tt.recipients, "callback_urls": []string{},
			},
		}
		if !reflect.DeepEqual(got, want) || got.Description == "" {
			t.Errorf("%s: Info = %+v, want %+v", name, got, want)
		}
		_, err := s.authenticate(t, signed(t, neartest.NewWallet("alice")))
		if disabled := errors.Is(err, provider.ErrDisabled); disabled != (tt.reason != "") || (disabled && !strings.Contains(err.Error(), tt.reason)) {
			t.Errorf("%s: Authenticate = %v, want ErrDisabled: %t", name, err, tt.reason != "")
		}
	}
	if s := newSite(t); s.Name() != "near_wallet" || !reflect.DeepEqual(s.Aliases(), []string{"near"}) {
		t.Errorf("Name %q, Aliases %q", s.Name(), s.Aliases())
	}
}

func TestEnroll(t *testing.T) {
	s, w := newSite(t), neartest.NewWallet("bob")
	sum := sha256.Sum256([]byte("near:testnet:bob.testnet"))
	id := hex.EncodeToString(sum[:])
	for data, publicKey := range map[string]string{
		`{"account_id":"bob.testnet"}`:                                  w.PublicKey[8:],
		`{"wallet_address":"bob.testnet"}`:                              w.PublicKey,
		`{"account_id":"bob.testnet","wallet_address":"bob.testnet"}`:   "a text",
		`{"account_id":"bob.testnet","wallet_address":null,"other":[]}`: "bob.testnet",
	} {
		want := provider.Proof{KeyID: id, PublicKey: "bob.testnet", Account: "bob.testnet"}
		if strings.Contains(w.PublicKey, publicKey) {
			want.PublicKey = w.PublicKey
		}
		got, err := s.Enroll(t.Context(), provider.Attempt{PublicKey: publicKey, Data: json.RawMessage(data)})
		if err != nil || got != want {
			t.Errorf("Enroll of %s with key %q = %+v, %v, want %+v", data, publicKey, got, err, want)
		}
	}
	for _, data := range []string{
		`{}`, `[]`, `{"account_id":""}`, `{"account_id":7}`, `{"account_id":"Bob.testnet"}`, `{"account_id":"bob.near"}`,
		`{"account_id":"bob.testnet","wallet_address":"eve.testnet"}`, `{"Account_id":"bob.testnet"}`,
	} {
		if got, err := s.Enroll(t.Context(), provider.Attempt{PublicKey: w.PublicKey, Data: json.RawMessage(data)}); !errors.Is(err, provider.ErrMalformed) || got != (provider.Proof{}) {
			t.Errorf("Enroll of %s = %+v, %v, want ErrMalformed", data, got, err)
		}
	}
	if n := len(s.rpc.Requests()); n != 0 {
		t.Errorf("%d RPC requests, want none", n)
	}
}
