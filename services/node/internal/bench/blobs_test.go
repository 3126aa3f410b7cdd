package bench_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"
)

// blobs compares the transfer of a large blob with io.Copy and a SHA-256 behind the same HTTP library, and reads how
// much memory the node took for it.
func blobs(t *testing.T) []row {
	size, turns := int64(1<<30), 3
	if !*ratios {
		size, turns = 8<<20, 1
	}
	node, plain := startNode(t, buildNode(t)), startBare(t)
	var up, down, bareUp, bareDown []time.Duration
	for turn := range turns {
		took, answer := upload(t, "http://"+node.addr+"/admin-api/blobs", size, uint64(turn))
		up = append(up, took)
		var put struct {
			Data struct {
				ID string `json:"blob_id"`
			}
		}
		if err := json.Unmarshal(answer, &put); err != nil {
			t.Fatal(err)
		}
		blob := "http://" + node.addr + "/admin-api/blobs/" + put.Data.ID
		down = append(down, download(t, blob, size))
		remove(t, blob)

		took, _ = upload(t, "http://"+plain.addr, size, uint64(turn))
		bareUp = append(bareUp, took)
		bareDown = append(bareDown, download(t, "http://"+plain.addr, size))
	}
	const denominator = "io.Copy + sha256 (and one fsync) in a bare net/http handler"
	ratio := func(ours, theirs []time.Duration) string {
		return fmt.Sprintf("%.2f (%.0f MiB/s)", float64(slices.Min(theirs))/float64(slices.Min(ours)), float64(size>>20)/slices.Min(ours).Seconds())
	}
	name := fmt.Sprintf("blob of %d MiB", size>>20)
	return []row{
		{name + " up: throughput", ratio(up, bareUp), ">= 0.50", denominator},
		{name + " down: throughput", ratio(down, bareDown), ">= 0.50", "io.Copy + sha256 in a bare net/http handler"},
		{name + ": largest resident set", fmt.Sprintf("%.1f MiB", node.peakRSS(t)), "< 64 MiB", "-"},
	}
}

var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, WriteBufferSize: 256 << 10, ReadBufferSize: 256 << 10}}

// content yields size bytes of which no chunk repeats another, at hardly any cost.
type content struct {
	block []byte
	seed  uint64
	done  int64
	size  int64
}

func newContent(size int64, seed uint64) *content {
	block := make([]byte, 256<<10)
	random := rand.NewChaCha8([32]byte{})
	_, _ = random.Read(block) // never fails
	return &content{block: block, seed: seed, size: size}
}

func (c *content) Read(p []byte) (int, error) {
	if c.done == c.size {
		return 0, io.EOF
	}
	at := c.done % int64(len(c.block))
	if at == 0 {
		binary.BigEndian.PutUint64(c.block, c.seed<<40|uint64(c.done/int64(len(c.block))))
	}
	n := copy(p, c.block[at:])
	n = min(n, int(c.size-c.done))
	c.done += int64(n)
	return n, nil
}

func upload(t *testing.T, url string, size int64, seed uint64) (time.Duration, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, newContent(size, seed))
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = size
	start := time.Now()
	var answer bytes.Buffer
	send(t, req, &answer)
	return time.Since(start), answer.Bytes()
}

func download(t *testing.T, url string, size int64) time.Duration {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if n := send(t, req, io.Discard); n != size {
		t.Fatalf("%d bytes came back, not %d", n, size)
	}
	return time.Since(start)
}

func remove(t *testing.T, url string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	send(t, req, io.Discard)
}

// send fails the test unless the answer is 200.
func send(t *testing.T, req *http.Request, to io.Writer) int64 {
	t.Helper()
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	n, err := io.Copy(to, res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", req.Method, res.Status, err)
	}
	return n
}
