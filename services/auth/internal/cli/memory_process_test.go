package cli_test

import (
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// memoryLimit is what the service must do with in this test, in KiB.
const memoryLimit = 64 << 10

// killWhenLarge kills a process with SIGKILL as soon as its anonymous memory outgrows the limit, which is what the system's
// killer does to a container. The limits of a process are no help: RLIMIT_AS and RLIMIT_DATA count the address space that Go
// reserves and the stacks of its threads, and end it before it is up. It returns the size at which it killed, 0 if it
// ended before.
func killWhenLarge(p *limited, stop <-chan struct{}) (size int) {
	status := fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid)
	for {
		select {
		case <-stop:
			return 0
		default:
		}
		text, err := os.ReadFile(status)
		if err != nil {
			return 0
		}
		_, rest, _ := strings.Cut(string(text), "RssAnon:")
		if fields := strings.Fields(rest); len(fields) > 0 {
			if size, err = strconv.Atoi(fields[0]); err == nil && size > memoryLimit {
				_ = p.cmd.Process.Kill() // the error says that it has ended
				return size
			}
		}
		runtime.Gosched()
	}
}

// 15: the process outgrows 64 MiB in the middle of its work and is killed. Nothing that was acknowledged is lost, no session is
// half there, and nobody got in.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	const clients = 16
	c := newCrash(t, buildBinary(t), 15, clients)
	c.stop()
	// Sixteen hashes at once of 19 MiB each; the accounts keep the cheap parameters that they were made with, until a login of
	// each makes its record anew.
	p := startLimited(t, with(c.env, "AUTH_USER_PASSWORD__ARGON2_MEMORY_KIB=19456", "AUTH_USER_PASSWORD__MAX_CONCURRENT_HASHES=16"), c.binary, "serve")
	c.process = &process{url: "http://" + p.data, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}, Timeout: 30 * time.Second}}
	var mu sync.Mutex
	var live, ended []tokenPair
	work := func(i int) bool {
		var pair tokenPair
		if status, _ := c.call("POST", "/auth/token", "", login(c.workers[i].name, ""), &pair); status != http.StatusOK {
			return false
		}
		status, _ := c.call("POST", "/admin/revoke", pair.Access, nil, nil)
		mu.Lock()
		defer mu.Unlock()
		if status == http.StatusOK {
			ended = append(ended, pair)
		}
		var kept tokenPair
		if status, _ := c.call("POST", "/auth/token", "", login(c.workers[i].name, ""), &kept); status != http.StatusOK {
			return false
		}
		live = append(live, kept)
		return true
	}
	for i := range clients {
		if !work(i) {
			t.Fatalf("client %d alone is not served", i)
		}
	}
	stop, killed := make(chan struct{}), make(chan int, 1)
	go func() { killed <- killWhenLarge(p, stop) }()
	var working sync.WaitGroup
	deadline := time.Now().Add(60 * time.Second)
	for i := range clients {
		working.Go(func() {
			for time.Now().Before(deadline) && work(i) {
			}
		})
	}
	working.Wait()
	close(stop)
	size := <-killed
	if size == 0 {
		t.Fatal("the service was never larger than 64 MiB: nothing was played")
	}
	if err := <-p.ended; err == nil {
		t.Error("it stopped of its own accord")
	}
	c.start(t)
	for i, pair := range live {
		if status, err := c.call("GET", "/auth/validate", pair.Access, nil, nil); status != http.StatusOK {
			t.Errorf("session %d was acknowledged: %d %v", i, status, err)
		}
		if _, status, err := c.refresh(pair); status != http.StatusOK {
			t.Errorf("its refresh: %d %v", status, err)
		}
	}
	for i, pair := range ended {
		if status, err := c.call("GET", "/auth/validate", pair.Access, nil, nil); status != http.StatusUnauthorized {
			t.Errorf("the end of session %d was acknowledged: %d %v", i, status, err)
		}
	}
	t.Logf("killed at %d KiB; %d sessions live, %d ended", size, len(live), len(ended))
}
