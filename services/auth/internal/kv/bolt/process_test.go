package bolt_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/bolt"
)

// The test binary runs itself as another process when these are set.
const (
	childPath = "BOLT_TEST_CHILD_PATH"
	childRole = "BOLT_TEST_CHILD_ROLE"

	childWriters = 4
)

func child(role, path string) (status int) {
	switch role {
	case "open":
		_, err := bolt.Open(path, bolt.Options{})
		fmt.Println(err)
		return 0
	case "count":
		return count(path)
	}
	fmt.Println("unknown role", role)
	return 2
}

// count lets writers count upwards, each in its own key, and prints what was acknowledged until it is killed.
func count(path string) int {
	db, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	var wg sync.WaitGroup
	var out sync.Mutex
	for w := range childWriters {
		wg.Go(func() {
			for {
				n := 0
				err := db.Update(context.Background(), func(tx kv.Tx) error {
					b, err := tx.Get("counter", strconv.Itoa(w))
					if n = 0; err == nil {
						_, err = fmt.Sscan(string(b), &n)
					}
					if err != nil && !errors.Is(err, kv.ErrNotFound) {
						return err
					}
					n++
					// The filler makes the file grow, split pages and free others.
					return errors.Join(tx.Put("counter", strconv.Itoa(w), fmt.Append(nil, n)),
						tx.Put("filler", fmt.Sprintf("%d-%d", n%50, w), make([]byte, n*97%3000)))
				})
				if err != nil {
					fmt.Println(err)
					return
				}
				out.Lock()
				fmt.Println(w, n)
				out.Unlock()
			}
		})
	}
	wg.Wait()
	return 1
}

// TestKill9_KeepsEverythingAcknowledged kills a writing process 20 times at random points.
func TestKill9_KeepsEverythingAcknowledged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "auth.db")
	acknowledged := make([]int, childWriters)
	for round := range 20 {
		killWhileCounting(t, path, rand.IntN(500), acknowledged)
		db := open(t, path)
		for w, least := range acknowledged {
			n := 0
			err := db.View(t.Context(), func(tx kv.Tx) error {
				b, err := tx.Get("counter", strconv.Itoa(w))
				if err == nil {
					_, err = fmt.Sscan(string(b), &n)
				}
				if errors.Is(err, kv.ErrNotFound) {
					return nil
				}
				return err
			})
			// One more update of each writer may have been committed and not printed.
			if err != nil || n < least || n > least+1 {
				t.Errorf("round %d: counter %d = %d, %v, acknowledged was %d", round, w, n, err, least)
			}
			acknowledged[w] = n
		}
		if err := errors.Join(db.Check(), db.Close()); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
	}
}

// killWhileCounting kills the child when it has printed lines acknowledgements, and records all that it printed.
func killWhileCounting(t *testing.T, path string, lines int, acknowledged []int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childPath+"="+path, childRole+"=count")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	scanner := bufio.NewScanner(out)
	for i := 0; ; i++ {
		if i == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		if !scanner.Scan() {
			break
		}
		var w, n int
		if _, err := fmt.Sscan(scanner.Text(), &w, &n); err != nil {
			// The last line may be cut in the middle.
			if scanner.Scan() || i < lines {
				t.Fatalf("the child says %q", scanner.Text())
			}
			break
		}
		acknowledged[w] = max(acknowledged[w], n)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the child ended by itself: %v", err)
	}
}

func TestSecondProcess_IsToldWithinFiveSeconds(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "auth.db")
	db := open(t, path)
	put(t, db, "k", "v")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childPath+"="+path, childRole+"=open")
	start := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(start)
	if err != nil || took > 30*time.Second { // far more than its wait: the machine may be busy
		t.Errorf("the second process ended with %v after %v", err, took)
	}
	if bolt.DefaultTimeout > 4*time.Second || bolt.MaxTimeout > 5*time.Second {
		t.Errorf("Open waits %v, at most %v", bolt.DefaultTimeout, bolt.MaxTimeout)
	}
	if got := string(out); !strings.Contains(got, kv.ErrLocked.Error()) || !strings.Contains(got, path) {
		t.Errorf("the second process says %q, want %q with the path", got, kv.ErrLocked)
	}
	put(t, db, "k", "w") // the first is unharmed
}
