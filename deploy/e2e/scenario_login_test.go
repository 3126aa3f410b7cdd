package e2e

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/deploy/e2e/internal/stack"
)

// The accounts of wallet/sign.mjs.
const (
	walletAccount   = 0
	strangerAccount = 1
	walletAddress   = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
)

// signed is what a wallet hands to the page that asked for a login.
type signed struct {
	Address   string `json:"address"`
	Message   string `json:"message"`
	Signature string `json:"signature"`
	challenge string
}

// signIn asks for a challenge and has viem sign it for what /auth/providers publishes.
func (s *site) signIn(t *testing.T, account int) signed {
	t.Helper()
	var challenge struct {
		Challenge string `json:"challenge"`
		Nonce     string `json:"message_nonce"`
	}
	if err := s.call(t, "GET", "/auth/challenge?method=eth_wallet", "", nil).data(&challenge); err != nil {
		t.Fatal(err)
	}
	var published struct {
		Providers []struct {
			Name       string `json:"name"`
			Configured bool   `json:"configured"`
			Config     struct {
				Domain    string   `json:"domain"`
				URI       string   `json:"uri"`
				Statement string   `json:"statement"`
				ChainIDs  []uint64 `json:"chain_ids"`
			} `json:"config"`
		} `json:"providers"`
	}
	if err := s.call(t, "GET", "/auth/providers", "", nil).data(&published); err != nil {
		t.Fatal(err)
	}
	for _, p := range published.Providers {
		if p.Name != "eth_wallet" || !p.Configured {
			continue
		}
		input, err := json.Marshal(map[string]any{
			"account": account, "domain": p.Config.Domain, "uri": p.Config.URI, "statement": p.Config.Statement,
			"chain_id": p.Config.ChainIDs[0], "nonce": challenge.Nonce,
		})
		if err != nil {
			t.Fatal(err)
		}
		proof := signed{challenge: challenge.Challenge}
		askWallet(t, "sign.mjs", input, &proof)
		s.secrets.Add("wallet signature", proof.Signature)
		return proof
	}
	t.Fatalf("eth_wallet is not offered: %+v", published)
	return signed{}
}

// askWallet runs a script of the folder wallet with an input and decodes what it prints.
func askWallet(t *testing.T, script string, input []byte, into any) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", script)
	cmd.Dir, cmd.Stdin = "wallet", bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("wallet/%s: %v\n%s", script, err, stderr.Bytes())
	}
	if err := json.Unmarshal(out, into); err != nil {
		t.Fatalf("wallet/%s printed %q: %v", script, out, err)
	}
}

// login sends the proof to /auth/token.
func (s *site) login(t *testing.T, proof signed, bootstrapSecret string) answer {
	t.Helper()
	data := map[string]string{
		"wallet_address": proof.Address, "message": proof.Message, "signature": proof.Signature, "challenge": proof.challenge,
	}
	if bootstrapSecret != "" {
		data["bootstrap_secret"] = bootstrapSecret
	}
	return s.call(t, "POST", "/auth/token", "", map[string]any{
		"auth_method": "eth_wallet", "public_key": proof.Address, "client_name": "e2e", "timestamp": 0, "provider_data": data,
	})
}

func tokens(t *testing.T, a answer) pair {
	t.Helper()
	var p pair
	if err := a.data(&p); err != nil {
		t.Fatal(err)
	}
	if p.Access == "" || p.Refresh == "" {
		t.Fatalf("%s: no pair of tokens: %s", a.what, a.body)
	}
	return p
}

func TestScenarioPasswordLoginReachesTheNode(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	s.secrets.Add("password", "not the password at all")
	wrong := s.call(t, "POST", "/auth/token", "", passwordLogin(adminName, "not the password at all", ""))
	wrong.want(t, http.StatusUnauthorized)
	unknown := s.call(t, "POST", "/auth/token", "", passwordLogin("nobody", "not the password at all", ""))
	unknown.want(t, http.StatusUnauthorized)
	if !bytes.Equal(wrong.body, unknown.body) {
		t.Errorf("a wrong password and an unknown user are told apart:\n%s\n%s", wrong.body, unknown.body)
	}
	again := tokens(t, s.call(t, "POST", "/auth/token", "", passwordLogin(adminName, adminPassword, "")))
	s.call(t, "GET", "/admin-api/blobs", again.Access, nil).want(t, http.StatusOK)
}

func TestScenarioEthereumLoginSignedByViem(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	// A wallet that no administrator added is nobody, however good its signature.
	s.login(t, s.signIn(t, strangerAccount), "").want(t, http.StatusUnauthorized)

	s.call(t, "POST", "/admin/keys", s.admin, map[string]any{
		"public_key": walletAddress, "auth_method": "eth_wallet", "provider_data": map[string]string{"wallet_address": walletAddress},
	}).want(t, http.StatusOK)
	proof := s.signIn(t, walletAccount)
	if proof.Address != walletAddress {
		t.Fatalf("viem signs as %s, want %s", proof.Address, walletAddress)
	}
	tampered := proof
	tampered.Message = strings.Replace(proof.Message, "Chain ID: 1", "Chain ID: 10", 1)
	s.login(t, tampered, "").want(t, http.StatusUnauthorized)

	p := tokens(t, s.login(t, proof, ""))
	s.call(t, "GET", "/admin-api/blobs", p.Access, nil).want(t, http.StatusOK)
	s.login(t, proof, "").want(t, http.StatusUnauthorized) // a challenge works once
}

func TestScenarioRefreshGivesAPairThatWorks(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	p := tokens(t, s.call(t, "POST", "/auth/token", "", passwordLogin(adminName, adminPassword, "")))
	refresh := map[string]string{"access_token": p.Access, "refresh_token": p.Refresh}
	early := s.call(t, "POST", "/auth/refresh", "", refresh).want(t, http.StatusUnauthorized)
	if !strings.Contains(string(early.body), "Access token still valid") {
		t.Errorf("refresh of a fresh pair: %s", early.body)
	}
	if s.local == nil {
		return // elsewhere an access token lives an hour
	}
	waitExpired(t, p.Access)
	next := tokens(t, s.call(t, "POST", "/auth/refresh", "", refresh))
	if next.Access == p.Access || next.Refresh == p.Refresh {
		t.Error("a refresh does not rotate")
	}
	s.call(t, "GET", "/admin-api/blobs", next.Access, nil).want(t, http.StatusOK)
}

func TestFirstLoginNeedsTheBootstrapSecretAndWorksOnce(t *testing.T) {
	t.Parallel()
	st := start(t, stack.Settings{})
	s := siteOf(st)
	secret, err := st.BootstrapSecret(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !bootstrapRequired(t, s) {
		t.Error("an empty store does not say bootstrap_required")
	}
	proof := s.signIn(t, walletAccount)
	s.login(t, proof, "").want(t, http.StatusUnauthorized)
	s.login(t, proof, "AAAA-AAAA-AAAA-AAAA-AAAA-AAAA").want(t, http.StatusUnauthorized)

	// The secret as people type it: lower case, without hyphens.
	typed := strings.ToLower(strings.ReplaceAll(secret, "-", ""))
	s.secrets.Add("bootstrap secret", typed)
	p := tokens(t, s.login(t, proof, typed))
	s.call(t, "GET", "/admin-api/contexts", p.Access, nil).want(t, http.StatusOK)

	if bootstrapRequired(t, s) {
		t.Error("bootstrap_required after the first login")
	}
	s.login(t, s.signIn(t, strangerAccount), secret).want(t, http.StatusUnauthorized)
	if shown, err := st.BootstrapSecret(t.Context()); err == nil {
		t.Errorf("bootstrap show still prints %q", shown)
	}
}

func bootstrapRequired(t *testing.T, s *site) bool {
	t.Helper()
	var list struct {
		Required bool `json:"bootstrap_required"`
	}
	if err := s.call(t, "GET", "/auth/providers", "", nil).data(&list); err != nil {
		t.Fatal(err)
	}
	return list.Required
}
