package ethereum_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/challenge"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc/jsonrpctest"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/ethereum"
)

const (
	magic = `"0x1626ba7e00000000000000000000000000000000000000000000000000000000"`
	code  = `"0x6080604052"`
)

// chain is an RPC server of chain 1 with a contract at every address that says yes, unless replies say otherwise.
func chain(replies map[string]jsonrpctest.Reply) jsonrpctest.Reply {
	all := map[string]jsonrpctest.Reply{
		"eth_chainId": jsonrpctest.Result(`"0x1"`), "eth_getCode": jsonrpctest.Result(code), "eth_call": jsonrpctest.Result(magic),
	}
	for method, reply := range replies {
		all[method] = reply
	}
	return jsonrpctest.ByMethod(all)
}

// contractSite is a provider that asks an RPC server, and which challenges it used up.
type contractSite struct {
	*ethereum.Provider
	rpc   *jsonrpctest.Server
	spent []string
}

func newContractSite(t testing.TB, reply jsonrpctest.Reply) (*contractSite, wallet) {
	t.Helper()
	p, w := ours(t)
	s := &contractSite{Provider: p, rpc: jsonrpctest.Start(t, reply)}
	p.RPC = jsonrpc.New(jsonrpc.Options{Name: "eth", URL: s.rpc.URL, Timeout: time.Minute, Now: time.Now})
	t.Cleanup(p.RPC.Close)
	return s, w
}

func (s *contractSite) authenticate(t testing.TB, in login) (provider.Proof, error) {
	t.Helper()
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	return s.Authenticate(t.Context(), provider.Attempt{Data: data, UseChallenge: func(_ context.Context, c challenge.Claims) error {
		s.spent = append(s.spent, c.ID)
		return nil
	}})
}

// ofContract is a login of w's address with a signature that is not one by w's key.
func ofContract(w wallet, signature string) login {
	return login{Address: w.address, Message: messageOf(w), Signature: signature, Challenge: "token"}
}

func TestAuthenticate_ContractWallet(t *testing.T) {
	s, w := newContractSite(t, chain(nil))
	signature := "0x" + strings.Repeat("0badc0de", 33) // two owners' worth, 132 bytes
	in := ofContract(w, signature)
	got, err := s.authenticate(t, in)
	if err != nil {
		t.Fatal(err)
	}
	if got.PublicKey != w.address || got.Challenge != nil || len(s.spent) != 1 || s.spent[0] != "0123456789abcdef0123456789abcdef" {
		t.Errorf("proof %+v, used up %q; want the account, and the challenge used up here", got, s.spent)
	}
	requests := s.rpc.Requests()
	var asked []string
	for _, r := range requests {
		asked = append(asked, r.Method)
	}
	if strings.Join(asked, " ") != "eth_chainId eth_getCode eth_call" {
		t.Fatalf("asked %q", asked)
	}
	lower := strings.ToLower(w.address)
	if want := `["` + lower + `","latest"]`; string(requests[1].Params) != want {
		t.Errorf("eth_getCode of %s, want %s", requests[1].Params, want)
	}
	hash := hex.EncodeToString(ethereum.PersonalHash([]byte(in.Message)))
	word := func(hex string) string { return strings.Repeat("0", 64-len(hex)) + hex }
	data := "0x1626ba7e" + hash + word("40") + word("84") + signature[2:] + strings.Repeat("0", 56)
	if want := `[{"data":"` + data + `","gas":"0x989680","to":"` + lower + `"},"latest"]`; string(requests[2].Params) != want {
		t.Errorf("eth_call of\n%s, want\n%s", requests[2].Params, want)
	}
}

// A signature by the account's own key needs no chain, also when the account has code (EIP-7702).
func TestAuthenticate_OwnKeyAsksNobody(t *testing.T) {
	s, w := newContractSite(t, jsonrpctest.HangUp)
	got, err := s.authenticate(t, ofContract(w, w.sign(t, messageOf(w))))
	if err != nil || got.Challenge == nil || len(s.spent) != 0 || len(s.rpc.Requests()) != 0 {
		t.Errorf("Authenticate = %+v, %v, used up %q; want the challenge to be used with the tokens, and no question", got, err, s.spent)
	}
}

// Code, chain and magic value all have to be right; what the node gets wrong is the node's.
func TestAuthenticate_ContractWalletRefusals(t *testing.T) {
	canary := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer canary.Close()
	no, down := provider.ErrRejected, provider.ErrUnavailable
	result := jsonrpctest.Result
	for name, tt := range map[string]struct {
		method string
		reply  jsonrpctest.Reply
		want   error
		asked  int
	}{
		"another chain":            {"eth_chainId", result(`"0x89"`), no, 1},
		"chain in decimal":         {"eth_chainId", result(`"1"`), down, 1},
		"chain as a number":        {"eth_chainId", result(`1`), down, 1},
		"chain with a zero":        {"eth_chainId", result(`"0x01"`), down, 1},
		"chain of 65 bits":         {"eth_chainId", result(`"0x10000000000000001"`), down, 1},
		"no chain":                 {"eth_chainId", result(`"0x"`), down, 1},
		"chain refused":            {"eth_chainId", jsonrpctest.Failure(`{"code":-32000}`), down, 1},
		"no code":                  {"eth_getCode", result(`"0x"`), no, 2},
		"code without a prefix":    {"eth_getCode", result(`"60"`), down, 2},
		"half a byte of code":      {"eth_getCode", result(`"0x6"`), down, 2},
		"code as a list":           {"eth_getCode", result(`["0x60"]`), down, 2},
		"code refused":             {"eth_getCode", jsonrpctest.Failure(`{"code":3}`), down, 2},
		"empty answer":             {"eth_call", result(`"0x"`), no, 3},
		"false":                    {"eth_call", result(`"0xffffffff` + strings.Repeat("0", 56) + `"`), no, 3},
		"zero":                     {"eth_call", result(`"0x` + strings.Repeat("0", 64) + `"`), no, 3},
		"true as a bool":           {"eth_call", result(`"0x` + strings.Repeat("0", 63) + `1"`), no, 3},
		"magic alone":              {"eth_call", result(`"0x1626ba7e"`), no, 3},
		"magic on the right":       {"eth_call", result(`"0x` + strings.Repeat("0", 56) + `1626ba7e"`), no, 3},
		"magic and a byte":         {"eth_call", result(`"0x1626ba7e` + strings.Repeat("0", 54) + `01"`), no, 3},
		"two words":                {"eth_call", result(`"0x1626ba7e` + strings.Repeat("0", 120) + `"`), no, 3},
		"magic of EIP-1271's past": {"eth_call", result(`"0x20c13b0b` + strings.Repeat("0", 56) + `"`), no, 3},
		"reverted":                 {"eth_call", jsonrpctest.Failure(`{"code":3,"message":"execution reverted","data":` + magic + `}`), no, 3},
		"ran out of gas":           {"eth_call", jsonrpctest.Failure(`{"code":-32000,"message":"out of gas"}`), no, 3},
		"limit exceeded":           {"eth_call", jsonrpctest.Failure(`{"code":-32005,"message":"limit exceeded"}`), down, 3},
		"no such method":           {"eth_call", jsonrpctest.Failure(`{"code":-32601}`), down, 3},
		"not hex":                  {"eth_call", result(`"yes"`), down, 3},
		"true":                     {"eth_call", result(`true`), down, 3},
		"an object":                {"eth_call", result(`{"result":` + magic + `}`), down, 3},
		"HTML":                     {"eth_call", jsonrpctest.Raw(`<html>`), down, 3},
		"status 500":               {"eth_call", jsonrpctest.Status(500, `{"jsonrpc":"2.0","id":$ID,"result":`+magic+`}`), down, 3},
		"to another":               {"eth_call", jsonrpctest.Raw(`{"jsonrpc":"2.0","id":-1,"result":` + magic + `}`), down, 3},
		"a redirect":               {"eth_call", jsonrpctest.Redirect(307, canary.URL), down, 3},
		"hangs up":                 {"eth_call", jsonrpctest.HangUp, down, 5},
		// A contract that returns what it is given begins with the selector.
		"an echo": {"eth_call", func(w http.ResponseWriter, r jsonrpctest.Request) {
			var params []json.RawMessage
			var call struct{ Data json.RawMessage }
			if json.Unmarshal(r.Params, &params) == nil && json.Unmarshal(params[0], &call) == nil {
				result(string(call.Data))(w, r)
			}
		}, no, 3},
	} {
		t.Run(name, func(t *testing.T) {
			s, w := newContractSite(t, chain(map[string]jsonrpctest.Reply{tt.method: tt.reply}))
			got, err := s.authenticate(t, ofContract(w, "0x0bad"))
			if !errors.Is(err, tt.want) || got != (provider.Proof{}) {
				t.Errorf("Authenticate = %+v, %v, want %v", got, err, tt.want)
			}
			if both := errors.Is(err, no) && errors.Is(err, down); both {
				t.Errorf("the error is of two kinds: %v", err)
			}
			if n := len(s.rpc.Requests()); n != tt.asked || len(s.spent) != 1 {
				t.Errorf("%d questions and %q used up, want %d and the challenge", n, s.spent, tt.asked)
			}
		})
	}
}

// Nobody is asked about a message that could not log in anyway, or a signature that no contract could be given.
func TestAuthenticate_ContractWalletIsAskedLast(t *testing.T) {
	s, w := newContractSite(t, chain(nil))
	with := func(change func(*login)) login {
		in := ofContract(w, "0x0bad")
		change(&in)
		return in
	}
	for name, in := range map[string]login{
		"another domain": with(func(l *login) {
			l.Message = strings.Replace(l.Message, "auth.example.com wants", "evil.example wants", 1)
		}),
		"another account":           with(func(l *login) { l.Address = newWallet(t, "wallet 2").address }),
		"a chain not allowed":       with(func(l *login) { l.Message = strings.Replace(l.Message, "Chain ID: 1\n", "Chain ID: 5\n", 1) }),
		"a stale challenge":         with(func(l *login) { l.Challenge = "stale" }),
		"not EIP-4361":              with(func(l *login) { l.Message = "hello" }),
		"signature without 0x":      with(func(l *login) { l.Signature = "0bad" }),
		"half a byte":               with(func(l *login) { l.Signature = "0x0ba" }),
		"a signature of 4097 bytes": with(func(l *login) { l.Signature = "0x" + strings.Repeat("00", 4097) }),
	} {
		if got, err := s.authenticate(t, in); !errors.Is(err, provider.ErrRejected) || got != (provider.Proof{}) {
			t.Errorf("%s: %+v, %v, want ErrRejected", name, got, err)
		}
		if n := len(s.rpc.Requests()); n != 0 || len(s.spent) != 0 {
			t.Errorf("%s: %d questions and %q used up, want none", name, n, s.spent)
		}
	}
	if _, err := s.authenticate(t, ofContract(w, "0x"+strings.Repeat("00", 4096))); err != nil {
		t.Errorf("a signature of 4096 bytes: %v", err)
	}
	// The bare challenge names no chain, so nobody can say whose contract it is.
	s.Config.AllowPersonalSign = true
	s.rpc.Requests()
	s.spent = nil
	if _, err := s.authenticate(t, login{w.address, "token", "0x0bad", "token"}); !errors.Is(err, provider.ErrRejected) || len(s.rpc.Requests()) != 0 {
		t.Errorf("a contract and the bare challenge: %v, want ErrRejected and no question", err)
	}
}

// The message's chain must be the node's, although both are allowed: the contract may be somebody else's over there.
func TestAuthenticate_ContractOfAnotherChain(t *testing.T) {
	s, w := newContractSite(t, chain(nil))
	in := ofContract(w, "0x0bad")
	in.Message = strings.Replace(in.Message, "Chain ID: 1\n", "Chain ID: 10\n", 1)
	_, err := s.authenticate(t, in)
	if !errors.Is(err, provider.ErrRejected) || !strings.Contains(err.Error(), "chain 10 cannot be asked, only those of chain 1") {
		t.Errorf("Authenticate = %v, want ErrRejected that names the chains", err)
	}
	s.rpc.Set(chain(map[string]jsonrpctest.Reply{"eth_chainId": jsonrpctest.Result(`"0xa"`)}))
	if _, err := s.authenticate(t, in); err != nil {
		t.Errorf("on its own chain: %v", err)
	}
}

// Without a node contracts are refused, as plain accounts with a wrong signature are.
func TestAuthenticate_ContractWithoutNode(t *testing.T) {
	p, w := ours(t)
	wantRejected(t, p, ofContract(w, "0x0bad"), "a signature is 0x and 130 hex digits")
	wantRejected(t, p, ofContract(w, "0x"+strings.Repeat("11", 64)+"1b"), "")
}

func TestAuthenticate_ChallengeIsUsedUpBeforeTheContractIsAsked(t *testing.T) {
	s, w := newContractSite(t, chain(nil))
	data, err := json.Marshal(ofContract(w, "0x0bad"))
	if err != nil {
		t.Fatal(err)
	}
	used := errors.New("used already")
	_, err = s.Authenticate(t.Context(), provider.Attempt{
		Data: data, UseChallenge: func(context.Context, challenge.Claims) error { return used },
	})
	if !errors.Is(err, used) || len(s.rpc.Requests()) != 0 {
		t.Errorf("Authenticate = %v, want the error of the use and no question", err)
	}
}

func TestAuthenticate_ContractCallerHangsUp(t *testing.T) {
	s, w := newContractSite(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	stall := s.rpc.Stall()
	s.rpc.Set(func(w http.ResponseWriter, r jsonrpctest.Request) {
		cancel()
		stall(w, r)
	})
	data, err := json.Marshal(ofContract(w, "0x0bad"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Authenticate(ctx, provider.Attempt{Data: data, UseChallenge: func(context.Context, challenge.Claims) error { return nil }})
	if !errors.Is(err, context.Canceled) || errors.Is(err, provider.ErrUnavailable) {
		t.Errorf("Authenticate = %v, want context.Canceled", err)
	}
}

func FuzzParseQuantity(f *testing.F) {
	for _, seed := range []string{"0x1", "0x0", "0x", "0x01", "0xA", "1", "0x-1", "0x_1", "0xffffffffffffffff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, valid := ethereum.ParseQuantity(text)
		if valid && !bytes.EqualFold([]byte(text), []byte("0x"+hexOf(n))) {
			t.Errorf("%q was read as %d", text, n)
		}
	})
}

func hexOf(n uint64) string {
	digits := strings.TrimLeft(hex.EncodeToString([]byte{
		byte(n >> 56), byte(n >> 48), byte(n >> 40), byte(n >> 32), byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n),
	}), "0")
	if digits == "" {
		return "0"
	}
	return digits
}
