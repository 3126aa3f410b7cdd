package cli_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// limited is a process with its own limits, whose log may hold what it likes.
type limited struct {
	cmd             *exec.Cmd
	data, operators string
	ended           chan error

	mu  sync.Mutex
	log []string
}

// logged returns the lines of the log so far that hold a text.
func (p *limited) logged(text string) (lines []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.log {
		if strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	return lines
}

// finish stops the process and waits for it.
func (p *limited) finish(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-p.ended; err != nil {
		t.Errorf("stop: %v", err)
	}
}

func startLimited(t *testing.T, env []string, name string, args ...string) *limited {
	t.Helper()
	return startLimitedAs(t, nil, env, name, args...)
}

// startLimitedAs is startLimited as another user.
func startLimitedAs(t *testing.T, as *syscall.Credential, env []string, name string, args ...string) *limited {
	t.Helper()
	p := &limited{cmd: exec.CommandContext(context.WithoutCancel(t.Context()), name, args...), ended: make(chan error, 1)}
	p.cmd.Env = env
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	stderr, err := p.cmd.StderrPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	up, read := make(chan [2]string, 1), make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			var line struct {
				Message string `json:"msg"`
				Data    string `json:"listen_addr"`
				Admin   string `json:"admin_addr"`
			}
			p.mu.Lock()
			p.log = append(p.log, lines.Text())
			p.mu.Unlock()
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Message == "mero-auth is up" {
				up <- [2]string{line.Data, line.Admin}
			}
		}
	}()
	go func() {
		<-read
		p.ended <- p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-read
	})
	select {
	case addresses := <-up:
		p.data, p.operators = addresses[0], addresses[1]
	case <-read:
		t.Fatal("the service did not start")
	}
	return p
}

// 15: with 64 file descriptors and more connections than that, whoever has one is served, nobody gets in who should not,
// and when the flood is over everything is as before.
func TestFileDescriptorsRunOut(t *testing.T) {
	t.Parallel()
	c := newCrash(t, buildBinary(t), 5, 1)
	c.stop()
	p := startLimited(t, c.env, "/bin/sh", "-c", `ulimit -n 64 && exec "$0" serve`, c.binary)
	transport := &http.Transport{MaxIdleConnsPerHost: 1}
	defer transport.CloseIdleConnections()
	early := &http.Client{Transport: transport, Timeout: time.Minute}
	ask := func(client *http.Client, token string) (int, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.data+"/auth/validate", http.NoBody)
		if err != nil {
			return 0, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		_, err = io.Copy(io.Discard, res.Body)
		return res.StatusCode, errors.Join(err, res.Body.Close())
	}
	if status, err := ask(early, c.admin.Access); status != http.StatusOK || err != nil {
		t.Fatalf("before: %d %v", status, err)
	}
	var flood []net.Conn
	for range 150 {
		conn, err := (&net.Dialer{Timeout: 30 * time.Second}).DialContext(t.Context(), "tcp", p.data)
		if err != nil {
			break // the queue is full, too
		}
		flood = append(flood, conn)
		if _, err := io.WriteString(conn, "POST /auth/refresh HTTP/1.1\r\n"); err != nil {
			break
		}
	}
	if len(flood) < 64 {
		t.Fatalf("%d connections: too few to show anything", len(flood))
	}
	for token, want := range map[string]int{c.admin.Access: http.StatusOK, "garbage": http.StatusUnauthorized, c.admin.Refresh: http.StatusUnauthorized} {
		if status, err := ask(early, token); status != want || err != nil {
			t.Errorf("on a connection of before: %d %v, want %d", status, err, want)
		}
	}
	for _, conn := range flood {
		_ = conn.Close() // the service may have closed it
	}
	deadline := time.Now().Add(time.Minute)
	for {
		late := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
		status, err := ask(late, c.admin.Access)
		if status == http.StatusOK && err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after the flood: %d %v", status, err)
		}
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-p.ended; err != nil {
		t.Errorf("stop: %v", err)
	}
}

// 15: a stop answers the requests that run, takes no new ones, and loses nothing that was answered.
func TestSIGTERM_WithRequestsInFlight(t *testing.T) {
	t.Parallel()
	c := newCrash(t, buildBinary(t), 6, 1)
	c.stop()
	const drain = 4 * time.Second // for which a stop waits; when the machine stood still so long nothing is shown
	pairs, lost, took := c.stopInFlight(t)
	for try := 0; len(lost) > 0 && took > drain && try < 5; try++ {
		pairs, lost, took = c.stopInFlight(t)
	}
	for _, what := range lost {
		t.Error(what)
	}
	c.start(t)
	for i, pair := range pairs {
		if status, err := c.call("GET", "/auth/validate", pair.Access, nil, nil); status != http.StatusOK {
			t.Errorf("what answer %d promised: %d %v", i, status, err)
		}
	}
}

// stopInFlight stops a service with eight logins in it. It returns what they were answered, what went wrong, and how long all
// of it took.
func (c *crash) stopInFlight(t *testing.T) (pairs []tokenPair, lost []string, took time.Duration) {
	t.Helper()
	p := startLimited(t, c.env, c.binary, "serve")
	raw, err := json.Marshal(login("worker-0", ""))
	if err != nil {
		t.Fatal(err)
	}
	head := fmt.Sprintf("POST /auth/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", len(raw))
	type inFlight struct {
		conn   net.Conn
		answer *bufio.Reader
	}
	var running []inFlight
	for range 8 {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", p.data)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, head); err != nil {
			t.Fatal(err)
		}
		reader := bufio.NewReader(conn)
		res, err := http.ReadResponse(reader, nil) //nolint:bodyclose // 100 Continue has none: the service asks for the body, the request is running
		if err != nil || res.StatusCode != http.StatusContinue {
			t.Fatalf("%v, %v, want 100 Continue", res, err)
		}
		if _, err := conn.Write(raw[:len(raw)-1]); err != nil {
			t.Fatal(err)
		}
		running = append(running, inFlight{conn, reader})
	}
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for i, request := range running {
		if _, err := request.conn.Write(raw[len(raw)-1:]); err != nil {
			lost = append(lost, fmt.Sprintf("request %d was cut: %v", i, err))
		}
	}
	for i, request := range running {
		res, err := http.ReadResponse(request.answer, nil)
		if err != nil {
			lost = append(lost, fmt.Sprintf("request %d was not answered: %v", i, err))
			continue
		}
		var body struct{ Data tokenPair }
		err = json.NewDecoder(res.Body).Decode(&body)
		if err = errors.Join(err, res.Body.Close()); err != nil || res.StatusCode != http.StatusOK {
			lost = append(lost, fmt.Sprintf("request %d: %d, %v", i, res.StatusCode, err))
			continue
		}
		pairs = append(pairs, body.Data)
	}
	if err := <-p.ended; err != nil {
		lost = append(lost, fmt.Sprintf("stop: %v, want exit code 0", err))
	}
	return pairs, lost, time.Since(began)
}
