package app_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/config"
)

// Attack: connections that never end their request, challenges by the thousand, logins from ever new addresses. A
// client that behaves is answered as ever, and neither the store nor the memory grows with it (security tests, 29).
func TestFlood(t *testing.T) { flood(t, 1000, 3000, 2*time.Second) } // the machine may be busy with other tests

// flood allows the client that behaves a wait at p99.
func flood(t *testing.T, connections, requests int, wait time.Duration) {
	t.Helper()
	c := settings(t, func(c *config.Config) { c.Security.RateLimit = config.RateLimit{RPM: 50, Burst: 5} })
	i := run(t, c)
	pair := i.first(t)
	size := func() int64 {
		t.Helper()
		info, err := os.Stat(filepath.Join(c.Storage.Path, "auth.db"))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	for n := range connections {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(i.url, "http://"))
		if err != nil {
			t.Fatalf("connection %d: %v", n, err)
		}
		t.Cleanup(func() { _ = conn.Close() }) // the service may have closed it
		head := "POST /auth/refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
		if _, err := io.WriteString(conn, head); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err != nil { // 100 Continue: it takes its memory now, and not while others are measured
			t.Fatalf("connection %d: %v", n, err)
		}
		if _, err := io.WriteString(conn, "{"); err != nil {
			t.Fatal(err)
		}
	}
	before, heapBefore := size(), heapInUse()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}
	defer client.CloseIdleConnections()
	ask := func(method, path, from, body string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, i.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Forwarded-For", from)
		req.Header.Set("Authorization", "Bearer "+pair.Access)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
		if err := res.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode
	}
	var took []time.Duration
	statuses := map[int]int{}
	for n := range requests {
		address := fmt.Sprintf("2001:db8:%x::1", n)
		statuses[ask("GET", "/auth/challenge", "203.0.113.1", "")]++
		ask("POST", "/auth/refresh", address, fmt.Sprintf(`{"access_token":"%d","refresh_token":"x"}`, n))
		if n%10 == 0 {
			started := time.Now()
			if status := ask("GET", "/auth/validate", "198.51.100.1", ""); status != 200 {
				t.Fatalf("the client that behaves: %d", status)
			}
			took = append(took, time.Since(started))
		}
	}
	if statuses[200] != 5 || statuses[429] != requests-5 {
		t.Errorf("challenges of one address: %v, want the burst alone", statuses)
	}
	slices.Sort(took)
	if p99 := took[len(took)*99/100]; p99 > wait {
		t.Errorf("the client that behaves waits %v at p99, want at most %v", p99, wait)
	}
	if grown := size() - before; grown > 1<<20 {
		t.Errorf("the store grew by %d bytes", grown)
	}
	if grown := heapInUse() - heapBefore; grown > 16<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
