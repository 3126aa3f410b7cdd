package cli_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc/jsonrpctest"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/near/neartest"
)

// nearCrash is the real binary with a NEAR node that does what the test wants.
type nearCrash struct {
	*crash
	*limited
	rpc    *jsonrpctest.Server
	wallet neartest.Wallet
}

func startNEAR(t *testing.T, seed uint64) *nearCrash {
	t.Helper()
	n := &nearCrash{rpc: jsonrpctest.Start(t, jsonrpctest.Result(neartest.FullAccess)), wallet: neartest.NewWallet("alice")}
	n.crash = newCrash(t, buildBinary(t), seed, 0, "AUTH_PUBLIC_URL=https://node.example", "AUTH_PROVIDERS__NEAR_WALLET=true", "AUTH_PROVIDERS__USER_PASSWORD=true", "AUTH_NEAR__RPC_URL="+n.rpc.URL)
	key := map[string]any{"public_key": n.wallet.PublicKey, "auth_method": "near_wallet", "provider_data": map[string]string{"account_id": "alice.testnet"}}
	if status, err := n.call("POST", "/admin/keys", n.admin.Access, key, nil); status != http.StatusOK {
		t.Fatalf("key of the wallet: %d %v", status, err)
	}
	n.stop()
	n.limited = startLimited(t, n.env, n.binary, "serve") // whose log may tell of outages
	transport := &http.Transport{MaxIdleConnsPerHost: 256}
	t.Cleanup(transport.CloseIdleConnections)
	n.process = &process{url: "http://" + n.data, client: &http.Client{Transport: transport}}
	return n
}

// login logs the wallet in with a fresh challenge.
func (n *nearCrash) login(t testing.TB) (status int, took time.Duration, err error) {
	var challenge struct{ Challenge, Nonce string }
	if status, err := n.call("GET", "/auth/challenge", "", nil, &challenge); status != http.StatusOK {
		return status, 0, fmt.Errorf("challenge: %w", err)
	}
	nonce, err := base64.StdEncoding.DecodeString(challenge.Nonce)
	if err != nil {
		return 0, 0, err
	}
	body := map[string]any{
		"auth_method": "near_wallet", "public_key": n.wallet.PublicKey, "client_name": "test", "timestamp": 0,
		"provider_data": map[string]any{
			"wallet_address": "alice.testnet", "message": challenge.Challenge, "recipient": "node.example",
			"signature": n.wallet.Sign(t, neartest.Message{Text: challenge.Challenge, Nonce: nonce, Recipient: "node.example"}),
		},
	}
	began := time.Now()
	var pair tokenPair
	status, err = n.call("POST", "/auth/token", "", body, &pair)
	if (status == http.StatusOK) != (pair.Access != "") {
		err = fmt.Errorf("status %d, token given: %t", status, pair.Access != "")
	}
	return status, time.Since(began), err
}

// metric reads one number of the operators' listener.
func (n *nearCrash) metric(t *testing.T, name string) float64 {
	t.Helper()
	res, err := http.Get("http://" + n.operators + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if rest, is := strings.CutPrefix(lines.Text(), name+" "); is {
			value, err := strconv.ParseFloat(rest, 64)
			if err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// healed waits until logins work again, for longer than the breaker rests.
func (n *nearCrash) healed(t *testing.T, after string) {
	t.Helper()
	n.rpc.Set(jsonrpctest.Result(neartest.FullAccess))
	for deadline := time.Now().Add(2 * time.Minute); ; {
		status, _, err := n.login(t)
		if status == http.StatusOK {
			return
		}
		if status != http.StatusServiceUnavailable || time.Now().After(deadline) {
			t.Fatalf("after %s: %d %v", after, status, err)
		}
		time.Sleep(20 * time.Millisecond) // between two polls
	}
}

// 12: the NEAR node hangs up, lies, redirects, talks without end, stalls under 200 logins and flaps. A login is refused as the
// outage that it is, within its deadline; nobody gets in; whoever has a token notices nothing; and it heals by itself.
func TestRPCFaults(t *testing.T) {
	t.Parallel()
	n := startNEAR(t, 12)
	for name, fault := range map[string]struct {
		reply jsonrpctest.Reply
		want  int
	}{
		"hangs up":         {jsonrpctest.HangUp, 503},
		"status 500":       {jsonrpctest.Status(500, ""), 503},
		"status 429":       {jsonrpctest.Status(429, ""), 503},
		"garbage":          {jsonrpctest.Raw("<html>"), 503},
		"answers another":  {jsonrpctest.Raw(`{"jsonrpc":"2.0","id":0,"result":` + neartest.FullAccess + `}`), 503},
		"redirects":        {jsonrpctest.Redirect(302, "http://169.254.169.254/"), 503},
		"is cut off":       {jsonrpctest.CutOff, 503},
		"never ends":       {jsonrpctest.Endless, 503},
		"is not synced":    {jsonrpctest.Failure(neartest.Cause("NO_SYNCED_BLOCKS")), 503},
		"denies the key":   {jsonrpctest.Failure(neartest.Cause("UNKNOWN_ACCESS_KEY")), 401},
		"a lesser key":     {jsonrpctest.Result(strings.Replace(neartest.FullAccess, `"FullAccess"`, `{"FunctionCall":{"allowance":null,"receiver_id":"x","method_names":[]}}`, 1)), 401},
		"lies about types": {jsonrpctest.Result(`{"permission":["FullAccess"],"nonce":1,"block_height":1}`), 503},
	} {
		n.rpc.Set(fault.reply)
		status, took, err := n.login(t)
		if status != fault.want || took > time.Minute { // its deadline is five seconds; without one it waits for ever
			t.Errorf("it %s: %d %v after %v, want %d", name, status, err, took, fault.want)
		}
		n.healed(t, name)
	}
	for round := 0; n.stall(t) < 20; round++ { // when the machine stood still, too, nothing was shown
		if round == 5 {
			t.Fatal("whoever has a token waits with the logins while it stalls")
		}
	}
	n.flap(t)
	n.limited.finish(t)
	for _, line := range n.logged("panic") {
		t.Errorf("the log holds %s", line)
	}
}

// stall logs in 200 times while the node stalls, and returns how often somebody with a token was answered meanwhile.
func (n *nearCrash) stall(t *testing.T) (asked int) {
	t.Helper()
	before := n.metric(t, "go_goroutines")
	n.rpc.Set(n.rpc.Stall())
	var logins sync.WaitGroup
	for range 200 {
		logins.Go(func() {
			if status, took, err := n.login(t); status != http.StatusServiceUnavailable || took > time.Minute {
				t.Errorf("a login of 200 while it stalls: %d %v after %v, want 503 within its deadline", status, err, took)
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		logins.Wait()
		close(ended)
	}()
	for running := true; running; {
		select {
		case <-ended:
			running = false
		default:
		}
		if status, err := n.call("GET", "/auth/validate", n.admin.Access, nil, nil); status != http.StatusOK {
			t.Fatalf("validate while it stalls: %d %v", status, err)
		}
		if asked++; asked%100 == 0 {
			// A connection and its request are a few goroutines each, a question to the chain one or two more.
			if now := n.metric(t, "go_goroutines"); now > before+2000 {
				t.Errorf("%.0f goroutines while it stalls, %.0f before", now, before)
			}
		}
	}
	n.healed(t, "the stall")
	return asked
}

func (n *nearCrash) flap(t *testing.T) {
	t.Helper()
	var count atomic.Int64
	n.rpc.Set(func(w http.ResponseWriter, r jsonrpctest.Request) {
		if count.Add(1)%3 == 0 {
			jsonrpctest.Result(neartest.FullAccess)(w, r)
			return
		}
		jsonrpctest.Status(502, "")(w, r)
	})
	for i := range 30 {
		if status, _, err := n.login(t); status != http.StatusOK && status != http.StatusServiceUnavailable {
			t.Errorf("login %d while it flaps: %d %v, want 200 or 503", i, status, err)
		}
	}
	n.healed(t, "the flapping")
}
