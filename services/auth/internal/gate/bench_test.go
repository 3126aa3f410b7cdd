package gate_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
)

// million names the environment variable that asks for the benchmarks over 10^6 keys, whose store takes a minute to
// fill. Without it they run over 10^4.
const million = "MERO_BENCH_MILLION"

// floor returns what a decision cannot do without: one SHA-256 of the token and one HMAC over as much as the assertion
// covers, with the key prepared, in nanoseconds.
func floor(b *testing.B, token string) float64 {
	b.Helper()
	const rounds = 20_000
	mac := hmac.New(sha256.New, make([]byte, 32))
	text, message, sum := []byte(token), make([]byte, 200), make([]byte, 0, sha256.Size)
	var sink byte
	began := time.Now()
	for range rounds {
		hash := sha256.Sum256(text)
		mac.Reset()
		mac.Write(message)
		sink ^= mac.Sum(sum)[0] ^ hash[0]
	}
	elapsed := time.Since(began)
	if sink == 1 && elapsed == 0 {
		b.Fatal("unreachable; keeps the loop")
	}
	return float64(elapsed.Nanoseconds()) / rounds
}

// reportBeyond prints the floor of a decision and what it took beyond it.
func reportBeyond(b *testing.B, token string) {
	b.Helper()
	spent := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
	hashes := floor(b, token)
	b.ReportMetric(hashes, "ns-hashes/op")
	b.ReportMetric(spent-hashes, "ns-beyond/op")
}

// decide asks the gate until the benchmark ends and fails it when an answer is not want.
func decide(b *testing.B, g *gate.Gate, requests []*http.Request, want bool) {
	b.Helper()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := g.Decide(requests[i%len(requests)]); (err == nil) != want {
			b.Fatal(err)
		}
		i++
	}
}

// decideParallel is decide on all processors.
func decideParallel(b *testing.B, g *gate.Gate, requests []*http.Request, want bool) {
	b.Helper()
	b.ReportAllocs()
	var start atomic.Uint64
	b.RunParallel(func(pb *testing.PB) {
		i := start.Add(7919)
		for pb.Next() {
			if _, err := g.Decide(requests[i%uint64(len(requests))]); (err == nil) != want {
				b.Error(err)
				return
			}
			i++
		}
	})
}

// overCache is a number of tokens with which the cache, which holds 8192, is of no use.
const overCache = 65_536

// manyTokens returns questions with as many tokens of the given keys, so that none is cached when its turn comes.
func manyTokens(b *testing.B, s *authtest.Service, keys []authtest.Token, target string) []*http.Request {
	b.Helper()
	requests := make([]*http.Request, overCache)
	for i := range requests {
		c := claims(s, keys[i%len(keys)], fmt.Sprintf("jti-%d", i))
		c.Permissions = []string{"context:list", "context:execute"}
		raw, _, err := s.Issuer.Tokens.Sign(c)
		if err != nil {
			b.Fatal(err)
		}
		requests[i] = question(b, http.MethodGet, target, raw)
	}
	return requests
}

func BenchmarkDecide(b *testing.B) {
	s := authtest.Start(b, authtest.OnDisk)
	root := s.Root(b, "admin")
	client := s.Client(b, root, "context:list", "context:execute")
	const target = "/admin-api/contexts?limit=20"
	ask := func(method, target, token string) []*http.Request {
		return []*http.Request{question(b, method, target, token)}
	}
	allow := ask(http.MethodGet, target, client.Access)
	b.Run("cached/allow", func(b *testing.B) {
		decide(b, s.Gate, allow, true)
		reportBeyond(b, client.Access)
	})
	b.Run("cached/allow/parallel", func(b *testing.B) { decideParallel(b, s.Gate, allow, true) })
	many := manyTokens(b, s, s.Populate(b, 1000, 1000, "context:list", "context:execute"), target)
	b.Run("not-cached/allow", func(b *testing.B) { decide(b, s.Gate, many, true) })
	b.Run("not-cached/allow/parallel", func(b *testing.B) { decideParallel(b, s.Gate, many, true) })
	for name, requests := range map[string][]*http.Request{
		"no-token":   ask(http.MethodGet, target, ""),
		"garbage":    ask(http.MethodGet, target, "a.b.c"),
		"permission": ask(http.MethodDelete, "/admin-api/contexts/c1", client.Access),
		"target":     ask(http.MethodGet, "//admin-api/contexts", client.Access),
		"forged":     ask(http.MethodGet, target, client.Access[:len(client.Access)-4]+"AAAA"),
	} {
		b.Run("deny/"+name, func(b *testing.B) { decide(b, s.Gate, requests, false) })
	}
	b.Run("public", func(b *testing.B) { decide(b, s.Gate, ask(http.MethodGet, "/admin-api/health", ""), true) })
}

// routes returns a table of n rows.
func routes(b *testing.B, n int) *route.Table {
	b.Helper()
	rows := make([]route.Row, n)
	for i := range rows {
		rows[i] = route.Row{
			Method: http.MethodGet, Pattern: fmt.Sprintf("/admin-api/r%d/{id}/x", i), Op: fmt.Sprintf("op%d", i),
			Needs: []route.Need{{Permission: "context:read[id]"}},
		}
	}
	table, err := route.NewTable(rows)
	if err != nil {
		b.Fatal(err)
	}
	return table
}

// BenchmarkDecideAtScale compares 10^2 keys and 10 routes with many keys (see million) and 1000 routes.
func BenchmarkDecideAtScale(b *testing.B) {
	large := 100_000
	if os.Getenv(million) != "" {
		large = 1_000_000
	}
	for _, scale := range []struct{ keys, routes int }{{100, 10}, {large, 1000}} {
		s := authtest.Start(b, authtest.OnDisk)
		keys := s.Populate(b, scale.keys, min(scale.keys, overCache), "context:list", "context:execute")
		s.Gate.Table = routes(b, scale.routes)
		target := fmt.Sprintf("/admin-api/r%d/c1/x", scale.routes-1)
		name := fmt.Sprintf("keys=%d,routes=%d/", scale.keys, scale.routes)
		cached := []*http.Request{question(b, http.MethodGet, target, keys[len(keys)/2].Access)}
		b.Run(name+"cached", func(b *testing.B) { decide(b, s.Gate, cached, true) })
		many := manyTokens(b, s, keys, target)
		b.Run(name+"not-cached", func(b *testing.B) { decide(b, s.Gate, many, true) })
	}
}
