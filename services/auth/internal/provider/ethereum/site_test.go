package ethereum_test

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
	"github.com/calimero-network/mero-go/services/auth/internal/provider/ethereum"
)

func TestProvider_Site(t *testing.T) {
	for _, tt := range []struct {
		name                string
		cfg                 config.Eth
		publicURL           string
		domain, uri, reason string
	}{
		{"public_url", config.Eth{}, "https://a.example", "a.example", "https://a.example/auth/login", ""},
		{"public_url with port and slash", config.Eth{}, "http://localhost:8080/", "localhost:8080", "http://localhost:8080/auth/login", ""},
		{"public_url with path", config.Eth{}, "https://a.example/mero", "a.example", "https://a.example/mero/auth/login", ""},
		{"public_url with IPv6 host", config.Eth{}, "http://[::1]:8080", "[::1]:8080", "http://[::1]:8080/auth/login", ""},
		{"both set", config.Eth{Domain: "b.example", URI: "https://b.example/in"}, "https://a.example", "b.example", "https://b.example/in", ""},
		{"domain set", config.Eth{Domain: "b.example"}, "https://a.example", "b.example", "https://a.example/auth/login", ""},
		{"both set, no public_url", config.Eth{Domain: "b.example", URI: "https://b.example/in"}, "", "b.example", "https://b.example/in", ""},
		{"nothing", config.Eth{}, "", "", "", "set public_url, or eth.domain and eth.uri"},
		{"domain only", config.Eth{Domain: "b.example"}, "", "b.example", "", "set public_url, or eth.domain and eth.uri"},
		{"uri only", config.Eth{URI: "https://b.example/in"}, "", "", "https://b.example/in", "set public_url, or eth.domain and eth.uri"},
		{"domain with scheme", config.Eth{Domain: "https://b.example"}, "https://a.example", "https://b.example", "https://a.example/auth/login", "eth.domain must be a host, or host:port"},
		{"uri without scheme", config.Eth{URI: "/login"}, "https://a.example", "a.example", "/login", "eth.uri must be an absolute URI"},
		{"statement that no client could use", config.Eth{Statement: "Přihlášení"}, "https://a.example", "a.example", "https://a.example/auth/login", "eth.statement has a character that EIP-4361 does not allow"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &ethereum.Provider{Config: tt.cfg, PublicURL: tt.publicURL}
			want := provider.Info{
				Type: "wallet", Description: "Ethereum wallet: Sign-In with Ethereum (EIP-4361)",
				Configured: tt.reason == "", Reason: tt.reason,
				Config: map[string]any{"domain": tt.domain, "uri": tt.uri, "statement": tt.cfg.Statement, "chain_ids": []uint64{1}},
			}
			if got := p.Info(); !reflect.DeepEqual(got, want) {
				t.Errorf("Info() = %+v, want %+v", got, want)
			}
			_, err := p.Authenticate(t.Context(), provider.Attempt{Data: json.RawMessage(`{}`)})
			if tt.reason == "" && !errors.Is(err, provider.ErrMalformed) {
				t.Errorf("Authenticate({}) = %v, want ErrMalformed", err)
			}
			if tt.reason != "" && (!errors.Is(err, provider.ErrDisabled) || !strings.Contains(err.Error(), tt.reason)) {
				t.Errorf("Authenticate({}) = %v, want ErrDisabled with %q", err, tt.reason)
			}
		})
	}
	p := &ethereum.Provider{}
	if p.Name() != "eth_wallet" || !reflect.DeepEqual(p.Aliases(), []string{"ethereum"}) {
		t.Errorf("Name, Aliases = %s, %v", p.Name(), p.Aliases())
	}
}

func TestEnroll(t *testing.T) {
	p, w := ours(t)
	lower := strings.ToLower(w.address)
	sum := sha256.Sum256([]byte("eth:" + lower))
	want := provider.Proof{KeyID: hex.EncodeToString(sum[:]), PublicKey: w.address, Account: w.address}
	for _, data := range []string{
		`{"wallet_address":"` + w.address + `"}`, `{"account_id":"` + w.address + `"}`, `{"account_id":"` + lower + `"}`,
		`{"account_id":"` + lower + `","wallet_address":"` + w.address + `"}`,
	} {
		if got, err := p.Enroll(t.Context(), provider.Attempt{Data: json.RawMessage(data)}); err != nil || got != want {
			t.Errorf("Enroll(%s) = %+v, %v, want %+v", data, got, err, want)
		}
	}
	other := newWallet(t, "wallet 2").address
	for _, data := range []string{
		`{}`, `null`, `{"wallet_address":""}`, `{"wallet_address":"alice.eth"}`, `{"wallet_address":"0x0000000000000000000000000000000000000000"}`,
		`{"wallet_address":"` + swapCase(w.address) + `"}`, `{"wallet_address":"` + w.address + `","account_id":"` + other + `"}`,
		`{"wallet_address":"` + w.address + `","account_id":"alice.eth"}`, `{"wallet_address":"` + w.address[2:] + `"}`,
	} {
		if got, err := p.Enroll(t.Context(), provider.Attempt{Data: json.RawMessage(data)}); !errors.Is(err, provider.ErrMalformed) || got != (provider.Proof{}) {
			t.Errorf("Enroll(%s) = %+v, %v, want ErrMalformed", data, got, err)
		}
	}
}

// The examples of EIP-55.
func TestAddress_EIP55(t *testing.T) {
	for _, want := range []string{
		"0x52908400098527886E0F7030069857D2E4169EE7", "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
		"0xde709f2102306220921060314715629080e2fb77", "0x27b1fdb04752bbc536007a920d24acb045561c26",
		"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
		"0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB", "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
	} {
		for _, text := range []string{want, strings.ToLower(want)} {
			if got, err := ethereum.Checksummed(text); err != nil || got != want {
				t.Errorf("Checksummed(%s) = %s, %v, want %s", text, got, err, want)
			}
		}
	}
}
