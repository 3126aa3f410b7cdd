package httpapi_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc/jsonrpctest"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/near/neartest"
)

// The checks of the contract with the reference's clients, by its numbers: the whole service, asked over HTTP, each
// check on an instance of its own. Where this service deliberately answers otherwise, a comment beside the check names
// the decision ("decided: ..."). Almost everything here is tested again, and deeper, elsewhere; this list is for the
// reader who wants to go through the contract line by line.

// contractCheck is one number of the list.
type contractCheck struct {
	number int
	name   string
	run    func(t *testing.T, s *site)
}

// contractChecks are the checks that are played here.
func contractChecks() []contractCheck {
	return slices.Concat(publicChecks, tokenChecks, gateChecks, refreshChecks, adminChecks, walletChecks, webChecks, permissionChecks, clientChecks)
}

// checkedElsewhere names the tests of the checks that need more than this service, or another process: a proxy, the
// environment, a build tag. Their paths are relative to the top of the repository.
var checkedElsewhere = map[int][]string{
	46: {"services/auth/internal/httpapi/mock_on_test.go TestMockTokens"}, // the positive half: only in a build with the tag mock
	52: {
		"deploy/e2e/spoof_test.go TestAttackSpoofedIdentityNeverArrives",
		"deploy/e2e/scenario_refusal_test.go TestScenarioRequestsWithoutAGoodTokenAreRefused",
		"deploy/e2e/traefik/traefik_test.go TestClientHeadersAreRemovedAsByNginx",
		"deploy/e2e/transcript_test.go TestAttackRecordedClientsNeverGetAnotherIdentity",
		"services/auth/internal/httpapi/validate_transcripts_test.go TestRecordedQuestions",
	},
	54: {
		"services/auth/internal/config/load_test.go TestLoad_Precedence",
		"services/auth/internal/cli/cli_test.go TestConfigurationProblems",
	},
}

func TestContract(t *testing.T) {
	for _, c := range contractChecks() {
		t.Run(fmt.Sprintf("%02d %s", c.number, c.name), func(t *testing.T) { c.run(t, startSite(t)) })
	}
}

// Every number from 1 to 57 is played here or by the tests that are named, which exist.
func TestContract_EveryNumberIsThere(t *testing.T) {
	const last = 57
	seen := map[int]int{}
	for _, c := range contractChecks() {
		if seen[c.number]++; c.number < 1 || c.number > last || seen[c.number] > 1 {
			t.Errorf("check %d is there %d times, or not of the contract", c.number, seen[c.number])
		}
	}
	for number, tests := range checkedElsewhere {
		seen[number]++
		for _, test := range tests {
			file, name, _ := strings.Cut(test, " ")
			source, err := os.ReadFile(filepath.Join("../../../..", filepath.FromSlash(file)))
			if err != nil {
				t.Errorf("check %d: %v", number, err)
			} else if !regexp.MustCompile(`(?m)^func ` + name + `\(`).Match(source) {
				t.Errorf("check %d: %s holds no %s", number, file, name)
			}
		}
	}
	for number := 1; number <= last; number++ {
		if seen[number] == 0 {
			t.Errorf("nothing plays check %d", number)
		}
	}
}

// site is the service that the contract's checks are written for: a store in memory, the issuer calimero-auth, NEAR
// wallets and passwords, one allowed origin, and the administrator "dev" provisioned by the environment.
type site struct {
	*authtest.Service
	*api // the client side alone: its address and password

	rpc    *jsonrpctest.Server // the NEAR node
	wallet neartest.Wallet     // of alice.testnet
}

func startSite(t *testing.T, changes ...func(*config.Config)) *site {
	t.Helper()
	return startSiteAt(t, authtest.Epoch, changes...)
}

func startSiteAt(t *testing.T, now time.Time, changes ...func(*config.Config)) *site {
	t.Helper()
	s := &site{rpc: jsonrpctest.Start(t, jsonrpctest.Result(neartest.FullAccess)), wallet: neartest.NewWallet("alice")}
	s.Service = authtest.StartAt(t, now, append([]func(*config.Config){func(c *config.Config) {
		c.Providers = config.Providers{NearWallet: true, UserPassword: true}
		c.Near.RPCURL = config.Endpoint(s.rpc.URL)
		c.CORS.AllowedOrigins = []string{"http://app.test"}
		c.Admin = config.Admin{User: "dev", Password: "dev-password"}
		c.UserPassword.MemoryKiB, c.UserPassword.Iterations = 8, 1
		c.Security.RateLimit = config.RateLimit{RPM: 1_000_000, Burst: 1_000_000} // all logins come from one address
	}}, changes...)...)
	s.api = &api{addr: s.Addr, password: "dev-password"}
	return s
}

// root logs dev in.
func (s *site) root(t *testing.T) tokens {
	t.Helper()
	return s.logIn(t, "dev")
}

// wants fails the test unless an answer has this status and machine code.
func wants(t *testing.T, what string, r answer, status int, reason string) {
	t.Helper()
	if got := r.header.Get("X-Auth-Error"); r.status != status || got != reason {
		t.Errorf("%s: %d %q %s, want %d %q", what, r.status, got, r.body, status, reason)
	}
}

// validate asks the probe.
func (s *site) validate(t *testing.T, token string, headers ...string) answer {
	t.Helper()
	return s.call(t, "GET", "/auth/validate", token, nil, headers...)
}

// gate asks as Traefik does and returns status and machine code.
func (s *site) gate(t *testing.T, method, target, token string) (status int, reason string) {
	t.Helper()
	r := s.call(t, "GET", "/auth/validate?proxy=traefik", token, nil, "X-Forwarded-Uri", target, "X-Forwarded-Method", method, "X-Forwarded-Host", "node1.test")
	return r.status, r.header.Get("X-Auth-Error")
}

// signedLogin is a login of alice.testnet over a fresh challenge; change may alter what she signs and members replaces
// parts of provider_data.
func (s *site) signedLogin(t *testing.T, change func(*neartest.Message), members map[string]any) map[string]any {
	t.Helper()
	var issued struct{ Challenge, Nonce string }
	s.call(t, "GET", "/auth/challenge", "", nil).data(t, &issued)
	nonce, err := base64.StdEncoding.DecodeString(issued.Nonce)
	if err != nil {
		t.Fatal(err)
	}
	message := neartest.Message{Text: issued.Challenge, Nonce: nonce, Recipient: "calimero"}
	if change != nil {
		change(&message)
	}
	data := map[string]any{"wallet_address": "alice.testnet", "message": issued.Challenge, "signature": s.wallet.Sign(t, message), "recipient": "calimero"}
	maps.Copy(data, members)
	return map[string]any{"auth_method": "near_wallet", "public_key": s.wallet.PublicKey, "client_name": "mero-js-sdk", "timestamp": 0, "provider_data": data}
}

// addAlice gives alice.testnet a root key, as the dashboard does.
func (s *site) addAlice(t *testing.T) {
	t.Helper()
	s.call(t, "POST", "/admin/keys", s.root(t).Access, map[string]any{
		"public_key": s.wallet.PublicKey, "auth_method": "near_wallet", "provider_data": map[string]string{"account_id": "alice.testnet"},
	}).data(t, &map[string]any{})
}

// part decodes one part of a token, whose numbers stay as they are written.
func part(t *testing.T, raw string, i int) map[string]any {
	t.Helper()
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		t.Fatalf("token %q has %d parts, want 3", raw, len(parts))
	}
	var members map[string]any
	decoder := json.NewDecoder(strings.NewReader(decode64(t, parts[i])))
	decoder.UseNumber()
	if err := decoder.Decode(&members); err != nil {
		t.Fatal(err)
	}
	return members
}
