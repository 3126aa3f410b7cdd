package bench_test

import (
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"os"
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
}

func chosenEffort() effort {
	if *ratios {
		return effort{turns: 7, turn: time.Second, medium: 100_000, many: *keys, tokens: 65_536}
	}
	return effort{turns: 1, turn: 20 * time.Millisecond, medium: 500, many: 1000, tokens: 200}
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
	var out bytes.Buffer
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FIGURE\tMEASURED\tTARGET\tDENOMINATOR")
	for _, r := range table {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.figure, r.measured, r.target, r.denominator)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if *ratios {
		fmt.Fprint(os.Stdout, out.String())
	} else {
		t.Logf("a trial run, these figures mean nothing:\n%s", &out)
	}
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

// underLoad measures the command against the bare handler, directly and behind nginx, and its memory.
func underLoad(t *testing.T, e effort, binary string) []row {
	t.Helper()
	s := authtest.StartAt(t, time.Now(), authtest.OnDisk)
	tokens := s.Populate(t, e.medium, min(e.medium, e.tokens), grants...)
	s.Stop(t)
	auth := startAuth(t, binary, s)
	one, many := tokens[:1], tokens
	bare, barePID := startBare(t, sampleHeaders(t, auth.data, gateQuestion(one[0].Access)))
	authPID := auth.cmd.Process.Pid

	ours, theirs := newLoad(t, auth.data, authPID, each(one, gateQuestion)), newLoad(t, bare, barePID, each(one, gateQuestion))
	cached := compare(t, ours, theirs, e.turns, e.turn)
	before := misses(t, auth)
	ours, theirs = newLoad(t, auth.data, authPID, each(many, gateQuestion)), newLoad(t, bare, barePID, each(many, gateQuestion))
	uncached := compare(t, ours, theirs, e.turns, e.turn)
	if missed := misses(t, auth) - before; *ratios && missed < uncached.ours.rate*e.turn.Seconds()*float64(e.turns)/2 {
		t.Errorf("the cache answered most of the tokens: %v misses", missed)
	}
	memory := auth.anonymous(t)

	const denominator = "bare net/http handler, same request and answer"
	rows := []row{
		{"validate, token cached: throughput", relative(cached), ">= 0.90", rate(denominator, cached.theirs)},
		{"validate, token cached: p99", latency(cached), "<= 1.20", p99(denominator, cached.theirs)},
		{"validate, token cached: processor time", processor(cached), "-", denominator + " (" + cached.theirs.cpu.String() + ")"},
		{"validate, token not cached: throughput", relative(uncached), ">= 0.70", rate(denominator, uncached.theirs)},
		{"validate, token not cached: p99", latency(uncached), "-", p99(denominator, uncached.theirs)},
		{"validate, token not cached: processor time", processor(uncached), "-", denominator + " (" + uncached.theirs.cpu.String() + ")"},
		{"validate, token cached: throughput", fmt.Sprintf("%.2f", cached.rate/oauth2Proxy), ">= 2.50", "oauth2-proxy, cookie (0.33 of the bare handler)"},
	}
	if proxies := startNginx(t, auth.data, bare); proxies != nil {
		ours, theirs = newLoad(t, proxies[0], authPID, each(one, clientRequest)), newLoad(t, proxies[1], barePID, each(one, clientRequest))
		through := compare(t, ours, theirs, e.turns, e.turn)
		ours, theirs = newLoad(t, proxies[0], authPID, each(many, clientRequest)), newLoad(t, proxies[1], barePID, each(many, clientRequest))
		uncachedThrough := compare(t, ours, theirs, e.turns, e.turn)
		const denominator = "nginx with auth_request to the bare handler"
		rows = append(rows,
			row{"through nginx, token cached: throughput", relative(through), ">= 0.95", rate(denominator, through.theirs)},
			row{"through nginx, token cached: p99", latency(through), "-", p99(denominator, through.theirs)},
			row{"through nginx, token not cached: throughput", relative(uncachedThrough), "-", rate(denominator, uncachedThrough.theirs)},
		)
		memory = max(memory, auth.anonymous(t))
	}
	return append(rows, row{
		fmt.Sprintf("memory under load, %d keys", e.medium), fmt.Sprintf("%.1f MiB", float64(memory)/(1<<20)), "<= 64 MiB", "RssAnon",
	})
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
