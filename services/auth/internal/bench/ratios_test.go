package bench_test

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
)

var (
	ratios = flag.Bool("ratios", false, "measure in earnest and print the table")
	keys   = flag.Int("keys", 1_000_000, "keys of the large store, with -ratios")
)

// effort is how much is put into the measurements.
type effort struct {
	turns        int
	turn         time.Duration
	medium, many int // keys of the store under load and of the large one
	tokens       int // distinct tokens, more than the cache holds
	writes       int // operations of a turn that end in the store
}

func chosenEffort() effort {
	if *ratios {
		return effort{turns: 7, turn: 800 * time.Millisecond, medium: 100_000, many: *keys, tokens: 65_536, writes: 1024}
	}
	return effort{turns: 1, turn: 20 * time.Millisecond, medium: 500, many: 1000, tokens: 200, writes: inFlight}
}

// oauth2Proxy is the throughput of oauth2-proxy's cookie path in terms of the same bare handler, as it was measured when
// the targets were set.
const oauth2Proxy = 0.33

// row is a line of the table.
type row struct{ figure, measured, target, denominator string }

// grants are what the clients of the measurements hold; path is what they ask for.
var grants = []string{"context:list", "context:execute"}

const path = "/admin-api/contexts?limit=20"

// TestRatios measures everything and prints the table.
func TestRatios(t *testing.T) {
	e := chosenEffort()
	binary := buildAuth(t)
	var table []row
	table = append(table, underLoad(t, e, binary)...)
	table = append(table, atScale(t, e, binary)...)
	table = append(table, writes(t, e, binary)...)
	text, err := render(table)
	if err != nil {
		t.Fatal(err)
	}
	if !*ratios {
		t.Logf("a trial run, these figures mean nothing:\n%s", text)
		return
	}
	if _, err := os.Stdout.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func render(table []row) (string, error) {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	for _, r := range append([]row{{"FIGURE", "MEASURED", "TARGET", "DENOMINATOR"}}, table...) {
		if _, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.figure, r.measured, r.target, r.denominator); err != nil {
			return "", err
		}
	}
	err := w.Flush()
	return out.String(), err
}

// gateQuestion is what nginx asks the gate, clientRequest what a client sends to nginx.
func gateQuestion(token string) []byte {
	return authtest.Question{
		Form: "nginx", Target: path, Host: "node.example.com", Token: token,
		Headers: []string{"Host: node.example.com", "Accept: application/json", "X-Request-Id: 0123456789abcdef0123456789abcdef"},
	}.Bytes()
}

func clientRequest(token string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: node.example.com\r\nAccept: application/json\r\nAuthorization: Bearer " + token + "\r\n\r\n")
}

func each(tokens []authtest.Token, request func(string) []byte) [][]byte {
	all := make([][]byte, len(tokens))
	for i := range tokens {
		all[i] = request(tokens[i].Access)
	}
	return all
}

// site is a running command, the bare server beside it, and tokens.
type site struct {
	auth    *process
	bare    string
	barePID int
}

// compare loads the command and the bare server in turns.
func (s site) compare(t *testing.T, e effort, requests [][]byte) versus {
	t.Helper()
	ours := newLoad(t, s.auth.data, s.auth.cmd.Process.Pid, requests)
	return compare(t, ours, newLoad(t, s.bare, s.barePID, requests), e.turns, e.turn)
}

// underLoad measures the command against the bare handler, directly and behind nginx, and its memory.
func underLoad(t *testing.T, e effort, binary string) []row {
	t.Helper()
	service := authtest.StartAt(t, time.Now(), authtest.OnDisk)
	others := service.Populate(t, e.medium, min(e.medium, e.tokens), grants...)
	few := others[:len(others)/100+1]
	refreshed := make([]authtest.Token, e.tokens) // many tokens of few sessions, as after refreshes
	for i := range refreshed {
		refreshed[i] = service.Reissue(t, few[i%len(few)], strconv.Itoa(i), grants...)
	}
	sisters := service.Sessions(t, few, e.tokens, grants...) // many sessions of few keys
	service.Stop(t)
	s := site{auth: startAuth(t, binary, service)}
	one := others[:1]
	s.bare, s.barePID = startBare(t, sampleHeaders(t, s.auth.data, gateQuestion(one[0].Access)))

	const denominator = "bare net/http handler, same request and answer"
	cached := s.compare(t, e, each(one, gateQuestion))
	rows := append(ratioRows("validate, token cached", denominator, cached, ">= 0.90", "<= 1.20"),
		row{"validate, token cached: throughput", fmt.Sprintf("%.2f", cached.rate/oauth2Proxy), ">= 2.50", "oauth2-proxy, cookie (0.33 of the bare handler)"})
	for _, c := range []struct {
		name   string
		tokens []authtest.Token
	}{
		{"validate, token not cached, session known", refreshed},
		{"validate, token not cached, key known", sisters},
		{"validate, token not cached, key not known", others},
	} {
		before := misses(t, s.auth)
		v := s.compare(t, e, each(c.tokens, gateQuestion))
		if missed := misses(t, s.auth) - before; *ratios && missed < v.ours.rate*e.turn.Seconds()*float64(e.turns)/2 {
			t.Errorf("%s: the cache answered most of them, %v misses", c.name, missed)
		}
		rows = append(rows, ratioRows(c.name, denominator, v, ">= 0.70", "-")...)
	}
	memory := s.auth.anonymous(t)
	proxied, memoryThen := s.throughNginx(t, e, one, others)
	rows = append(rows, proxied...)
	return append(rows, row{
		fmt.Sprintf("memory under load, %d keys", e.medium), fmt.Sprintf("%.1f MiB", float64(max(memory, memoryThen))/(1<<20)), "<= 64 MiB", "RssAnon",
	})
}

// throughNginx measures both behind one nginx, and the memory of the command after it.
func (s site) throughNginx(t *testing.T, e effort, one, many []authtest.Token) (rows []row, memory int) {
	t.Helper()
	proxies := startNginx(t, s.auth.data, s.bare)
	if proxies == nil {
		return nil, 0
	}
	const denominator = "nginx with auth_request to the bare handler"
	pid := s.auth.cmd.Process.Pid
	through := func(tokens []authtest.Token) versus {
		requests := each(tokens, clientRequest)
		return compare(t, newLoad(t, proxies[0], pid, requests), newLoad(t, proxies[1], s.barePID, requests), e.turns, e.turn)
	}
	rows = ratioRows("through nginx, token cached", denominator, through(one), ">= 0.95", "-")
	rows = append(rows, ratioRows("through nginx, token not cached, key not known", denominator, through(many), "-", "-")...)
	return rows, s.auth.anonymous(t)
}

// ratioRows are the lines of one comparison.
func ratioRows(what, denominator string, v versus, rateTarget, latencyTarget string) []row {
	return []row{
		{what + ": throughput", relative(v), rateTarget, rate(denominator, v.theirs)},
		{what + ": p99", latency(v), latencyTarget, p99(denominator, v.theirs)},
		{what + ": processor time of the gate", processor(v), "-", denominator + " (" + v.theirs.cpu.String() + ")"},
	}
}

func relative(v versus) string { return fmt.Sprintf("%.2f (%.0f/s)", v.rate, v.ours.rate) }

func processor(v versus) string { return fmt.Sprintf("%.2f (%v)", v.cpu, v.ours.cpu) }

func latency(v versus) string {
	return fmt.Sprintf("%.2f (%v)", v.p99, v.ours.p99.Round(time.Microsecond))
}

func rate(what string, s sample) string { return fmt.Sprintf("%s (%.0f/s)", what, s.rate) }

func p99(what string, s sample) string {
	return fmt.Sprintf("%s (%v)", what, s.p99.Round(time.Microsecond))
}

// sampleHeaders asks once and returns the headers of the answer, which the bare handler repeats.
func sampleHeaders(t *testing.T, addr string, request []byte) http.Header {
	t.Helper()
	answer := authtest.Exchange(t, addr, "", http.MethodGet, request)
	if answer.Status != http.StatusOK || answer.Header.Get(identity.HeaderAssertion) == "" {
		t.Fatalf("not a decision to measure: %v", answer)
	}
	answer.Header.Del("Date") // the HTTP library writes it
	return answer.Header
}
