package route_test

import (
	"fmt"
	"testing"

	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/pkg/route"
)

// manyRows returns a table of n rows with the shapes of the real one.
func manyRows(n int) []route.Row {
	var rows []route.Row
	for i := 0; len(rows) < n; i++ {
		base := fmt.Sprintf("/admin-api/things%d", i)
		op := fmt.Sprintf("things%d.", i)
		rows = append(rows,
			row("GET", base, op+"list", "context:list"),
			row("POST", base, op+"create", "context:create"),
			row("GET", base+"/{id}", op+"get", "context:read[id]"),
			row("DELETE", base+"/{id}", op+"delete", "context:delete[id]"),
			row("POST", base+"/{id}/members/{member}/role", op+"role", "context:invite[id]"),
		)
	}
	return rows[:n]
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{10, 1000} {
		table := newTable(b, manyRows(n)...)
		b.Run(fmt.Sprintf("routes=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := table.Lookup("DELETE", "/admin-api/things1/9wXk3Wb8vZJ1p7uE2xRrT4nQkq6LhYdC5mNsAaBbCcDd"); !ok {
					b.Fatal("not found")
				}
			}
		})
	}
}

func BenchmarkDecide(b *testing.B) {
	set := permission.NewSet([]string{"context:list", "context:execute", "blob", "context:delete[9wXk3Wb8vZJ1p7uE2xRrT4nQkq6LhYdC5mNsAaBbCcDd]"})
	decide := func(b *testing.B, table *route.Table, method, path string) {
		b.Helper()
		b.ReportAllocs()
		for b.Loop() {
			m, _ := table.Lookup(method, path)
			if !m.Allowed(set, true) {
				b.Fatalf("%s %s is refused", method, path)
			}
		}
	}
	const path = "/admin-api/things1/9wXk3Wb8vZJ1p7uE2xRrT4nQkq6LhYdC5mNsAaBbCcDd"
	for _, n := range []int{10, 1000} {
		table := newTable(b, manyRows(n)...)
		b.Run(fmt.Sprintf("routes=%d", n), func(b *testing.B) { decide(b, table, "DELETE", path) })
	}
	b.Run("node-list", func(b *testing.B) { decide(b, route.Node, "GET", "/admin-api/contexts") })
	b.Run("node-rpc", func(b *testing.B) { decide(b, route.Node, "POST", "/jsonrpc") })
}

func TestDecide_DoesNotAllocate(t *testing.T) {
	set := permission.NewSet([]string{"context:read[c1]"})
	if n := testing.AllocsPerRun(1000, func() {
		m, ok := route.Node.Lookup("GET", "/admin-api/contexts/c1")
		if !ok || !m.Allowed(set, true) {
			t.Error("refused")
		}
	}); n != 0 {
		t.Errorf("lookup and decision allocate %v times, want 0", n)
	}
}
