package bench_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
)

// keysInUse is how many keys the decisions are about, whatever the store holds.
const keysInUse = 100

// atScale measures decisions inside the process, over few keys and routes and over many, and the start of the command
// on the store of many.
func atScale(t *testing.T, e effort, binary string) []row {
	t.Helper()
	small, large := newWorld(t, e, keysInUse, 10), newWorld(t, e, e.many, 1000)
	const denominator = "10^2 keys, 10 routes"
	scale := fmt.Sprintf("%d keys, 1000 routes", e.many)
	rows := []row{
		{scale + ": decisions, token cached", fmt.Sprintf("%.2f", small.versus(large, e, 1)), ">= 0.95", denominator},
		{scale + ": decisions, token not cached", fmt.Sprintf("%.2f", small.versus(large, e, e.tokens)), ">= 0.95", denominator},
		{scale + ": one decision, key not known", large.first(t).String(), "-", "-"},
	}
	rows = append(rows, small.oneDecision(t, e)...)
	large.service.Stop(t)
	started := startAuth(t, binary, large.service)
	return append(rows, row{fmt.Sprintf("start, %d keys", e.many), started.ready.Round(time.Millisecond).String(), "<= 1s", "until /readyz says yes"})
}

// world is a service with a number of keys and routes, and questions to its gate.
type world struct {
	service  *authtest.Service
	requests []*http.Request // from many sessions of keysInUse keys
	strange  []*http.Request // from keys that are not in use
	token    string
}

func newWorld(t *testing.T, e effort, keys, routes int) *world {
	t.Helper()
	w := &world{service: authtest.StartAt(t, time.Now(), authtest.OnDisk)}
	tokens := w.service.Populate(t, keys, min(keys, 10*keysInUse), grants...)
	w.service.Gate.Table = tableOf(t, routes)
	spread := len(tokens) / keysInUse
	for i := range e.tokens {
		token := w.service.Reissue(t, tokens[i%keysInUse*spread], strconv.Itoa(i), grants...)
		w.requests = append(w.requests, decision(t, fmt.Sprintf("/admin-api/r%d/c1/x", i%routes), token.Access))
	}
	for i, token := range tokens {
		if i%spread != 0 {
			w.strange = append(w.strange, decision(t, "/admin-api/r0/c1/x", token.Access))
		}
	}
	w.token = tokens[0].Access
	return w
}

// first returns the time of a decision about a key that nobody has asked about before.
func (w *world) first(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	for _, r := range w.strange {
		if _, err := w.service.Gate.Decide(r); err != nil {
			t.Fatal(err)
		}
	}
	return time.Since(began) / time.Duration(len(w.strange))
}

func tableOf(t *testing.T, n int) *route.Table {
	t.Helper()
	rows := make([]route.Row, n)
	for i := range rows {
		rows[i] = route.Row{
			Method: http.MethodGet, Pattern: fmt.Sprintf("/admin-api/r%d/{id}/x", i), Op: fmt.Sprintf("op%d", i),
			Needs: []route.Need{{Permission: "context:read[id]"}},
		}
	}
	table, err := route.NewTable(rows)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func decision(t *testing.T, target, token string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/auth/validate?proxy=nginx", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.RemoteAddr, r.RequestURI = "127.0.0.1:40000", "/auth/validate?proxy=nginx"
	r.Header = http.Header{
		"X-Original-Uri": {target}, "X-Original-Method": {http.MethodGet}, "X-Original-Host": {"node.example.com"},
		"Authorization": {"Bearer " + token},
	}
	return r
}

// versus returns how many decisions large makes in the time in which w makes one, with so many distinct tokens.
func (w *world) versus(large *world, e effort, tokens int) float64 {
	var quotients []float64
	for range 2*e.turns + 1 {
		a := timeDecisions(w.service.Gate, w.requests[:tokens], e.turn/4)
		b := timeDecisions(large.service.Gate, large.requests[:tokens], e.turn/4)
		quotients = append(quotients, float64(a)/float64(b))
	}
	return median(quotients)
}

// timeDecisions returns the time of one decision, measured for about d.
func timeDecisions(g *gate.Gate, requests []*http.Request, d time.Duration) time.Duration {
	const batch = 64
	began, n := time.Now(), 0
	for {
		for range batch {
			if _, err := g.Decide(requests[n%len(requests)]); err != nil {
				panic(err)
			}
			n++
		}
		if spent := time.Since(began); spent >= d {
			return spent / time.Duration(n)
		}
	}
}

// oneDecision measures a decision on a cached token beside what it cannot do without.
func (w *world) oneDecision(t *testing.T, e effort) []row {
	t.Helper()
	requests := w.requests[:1]
	var spent, hashes []float64
	for range 2*e.turns + 1 {
		spent = append(spent, float64(timeDecisions(w.service.Gate, requests, e.turn/4)))
		hashes = append(hashes, float64(timeHashes(w.token, e.turn/4)))
	}
	allocations := testing.AllocsPerRun(1000, func() {
		if _, err := w.service.Gate.Decide(requests[0]); err != nil {
			panic(err)
		}
	})
	beyond := time.Duration(median(spent) - median(hashes))
	return []row{
		{"one decision, token cached: time beyond the hashes", beyond.String(), "<= 2µs", fmt.Sprintf("one SHA-256 of the token and one HMAC (%v)", time.Duration(median(hashes)))},
		{"one decision, token cached: allocations", strconv.FormatFloat(allocations, 'f', 0, 64), "<= 4", "-"},
	}
}

// timeHashes returns the time of one SHA-256 of the token and one HMAC of as much as an assertion covers.
func timeHashes(token string, d time.Duration) time.Duration {
	mac := hmac.New(sha256.New, make([]byte, 32))
	text, message, sum := []byte(token), make([]byte, 200), make([]byte, 0, sha256.Size)
	began, n, sink := time.Now(), 0, byte(0)
	for {
		for range 64 {
			hash := sha256.Sum256(text)
			mac.Reset()
			mac.Write(message)
			sink ^= mac.Sum(sum)[0] ^ hash[0]
			n++
		}
		if spent := time.Since(began); spent >= d {
			message[0] = sink // so that the loop is not optimised away
			return spent / time.Duration(n)
		}
	}
}

// misses returns how many tokens the process had to verify.
func misses(t *testing.T, p *process) float64 {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.operators+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // read to its end or the test has failed
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, "mero_auth_token_cache_misses_total "); found {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no series of misses")
	return 0
}
