package main_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/calimero-network/mero-go/services/node/internal/blob"
	"github.com/calimero-network/mero-go/services/node/internal/contextstest"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// counter is an application whose method add counts, returns the count and puts it into its artifact.
const counter = "../../internal/contexts/testdata/probe.wasm"

var counterID = id.ID{0xa1}

// database opens the store of a node that does not run.
func database(t *testing.T, home string, fn func(*store.Store) error) {
	t.Helper()
	db, err := store.Open(filepath.Join(home, "n", "data"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(fn(db), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// installCounter puts the application where the node will find it.
func installCounter(t *testing.T, home string) {
	t.Helper()
	module, err := os.ReadFile(counter)
	if err != nil {
		t.Fatal(err)
	}
	database(t, home, func(db *store.Store) error {
		blobs, err := blob.Open(t.Context(), filepath.Join(home, "n", "blobs"), db, 0, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		info, err := blobs.Put(t.Context(), bytes.NewReader(module), nil, nil)
		if err != nil {
			return err
		}
		return db.Update(t.Context(), func(tx *store.Tx) error {
			return tx.PutApplication(store.Application{ID: counterID, Blob: info.ID, Size: info.Size, Wasm: info.ID}, nil)
		})
	})
}

// post sends JSON to any path of the node and decodes the answer.
func (p *process) post(ctx context.Context, path, body string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	return json.NewDecoder(res.Body).Decode(into)
}

// add executes the method add and returns what it counted.
func (p *process) add(ctx context.Context, c id.ID) (int, error) {
	var answer struct {
		Result struct{ Output json.RawMessage }
		Error  json.RawMessage
	}
	err := p.post(ctx, "/jsonrpc", fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"execute","params":{"contextId":%q,"method":"add"}}`, c), &answer)
	if err != nil {
		return 0, err
	}
	if answer.Error != nil {
		return 0, fmt.Errorf("refused: %s", answer.Error)
	}
	return strconv.Atoi(string(answer.Result.Output))
}

// tally is what the clients of a context know.
type tally struct {
	highest atomic.Int64 // of the counts that were acknowledged
	calls   atomic.Int64 // that were begun
}

// A node that is killed at any moment of an execution has all of it or nothing, and every one that it acknowledged:
// state, delta log, heads and hash agree.
func TestKilledNode_ExecutionsAreWholeAndKeptOnceAcknowledged(t *testing.T) {
	killExecutions(t, 10, 5)
}

// killExecutions kills a node in rounds, each after at least some executions were acknowledged.
func killExecutions(t *testing.T, rounds, atLeast int) {
	bin, home := build(t), t.TempDir()
	installCounter(t, home)
	p := start(t, bin, home)
	known := map[id.ID]*tally{}
	for range 3 {
		var made struct {
			Data struct {
				Context id.ID `json:"contextId"`
			}
		}
		if err := p.post(t.Context(), "/admin-api/contexts", fmt.Sprintf(`{"applicationId":%q}`, counterID), &made); err != nil {
			t.Fatal(err)
		}
		known[made.Data.Context] = &tally{}
		known[made.Data.Context].highest.Store(1) // init
	}
	for round := range rounds {
		if round > 0 {
			p = start(t, bin, home)
		}
		acknowledged := executeUntilKilled(t, p, known, atLeast)
		if t.Failed() {
			return
		}
		if acknowledged < int64(atLeast) {
			t.Errorf("round %d: %d executions were acknowledged", round, acknowledged)
		}
		database(t, home, func(db *store.Store) error {
			for c, k := range known {
				if problem := contextstest.Problem(db, c); problem != "" {
					t.Errorf("round %d, context %s: %s", round, c, problem)
					continue
				}
				k.check(t, db, c)
			}
			return nil
		})
	}
	p = start(t, bin, home)
	for c, k := range known {
		n, err := p.add(t.Context(), c)
		if err != nil || int64(n) <= k.highest.Load() {
			t.Errorf("after the last restart: %d, %v, want more than %d", n, err, k.highest.Load())
		}
	}
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
}

// executeUntilKilled lets clients execute in all contexts and kills the node while they do.
func executeUntilKilled(t *testing.T, p *process, known map[id.ID]*tally, atLeast int) int64 {
	t.Helper()
	var acknowledged atomic.Int64
	var wg sync.WaitGroup
	for c, k := range known {
		for range 3 {
			wg.Go(func() {
				for {
					k.calls.Add(1)
					n, err := p.add(t.Context(), c)
					if err != nil {
						return // gone in the middle: either outcome is right
					}
					for old := k.highest.Load(); int64(n) > old && !k.highest.CompareAndSwap(old, int64(n)); {
						old = k.highest.Load()
					}
					acknowledged.Add(1)
				}
			})
		}
	}
	for acknowledged.Load() < int64(atLeast) {
		runtime.Gosched()
	}
	for range rand.IntN(20_000) { // any moment of what is under way now
		runtime.Gosched()
	}
	if err := p.end(syscall.SIGKILL); err == nil {
		t.Error("the node ended by itself")
	}
	wg.Wait()
	return acknowledged.Load()
}

// check compares a context with what its clients know: its deltas count from 1 without a gap, at least to the highest
// count that was acknowledged, and at most as far as there were calls.
func (k *tally) check(t *testing.T, db *store.Store, c id.ID) {
	t.Helper()
	var chain []store.Delta
	var state []byte
	if err := db.View(t.Context(), func(tx *store.Tx) error {
		x, err := tx.Context(c)
		if err != nil {
			return err
		}
		state, _ = tx.Entry(store.Shared, c, []byte("n"))
		chain, err = contextstest.Chain(tx, x)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for i, d := range chain {
		if n := binary.LittleEndian.Uint64(d.Artifact); n != uint64(i+1) {
			t.Errorf("context %s: delta %d counts %d", c, i+1, n)
		}
	}
	n := int64(len(chain))
	if stored := binary.LittleEndian.Uint64(state); stored != uint64(n) {
		t.Errorf("context %s: the state counts %d, the log %d", c, stored, n)
	}
	if n < k.highest.Load() || n > 1+k.calls.Load() {
		t.Errorf("context %s: %d executions, want at least the %d acknowledged ones, and at most %d", c, n, k.highest.Load(), 1+k.calls.Load())
	}
}
