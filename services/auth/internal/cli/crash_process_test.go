package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// process is one life of the service.
type process struct {
	cmd    *exec.Cmd
	url    string
	client *http.Client
	gone   chan struct{} // closed when it has ended
	kill   func()
}

type tokenPair struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

// errLost says that no complete answer came.
var errLost = errors.New("the answer was lost")

// built is the binary, made once for all tests that run it.
var built = sync.OnceValues(func() (path string, err error) {
	if buildDir, err = os.MkdirTemp("", "mero-auth-test"); err != nil {
		return "", err
	}
	path = filepath.Join(buildDir, "mero-auth")
	build := exec.CommandContext(context.Background(), "go", "build", "-o", path, "../../cmd/mero-auth")
	build.Env = append(build.Environ(), "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

var buildDir string

func TestMain(m *testing.M) {
	code := m.Run()
	if buildDir != "" {
		_ = os.RemoveAll(buildDir) // in a directory for what is temporary
	}
	os.Exit(code)
}

func buildBinary(t *testing.T) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// start starts a process on the store and waits until it is up.
func (c *crash) start(t *testing.T) {
	t.Helper()
	ctx, kill := context.WithCancel(context.WithoutCancel(t.Context()))
	p := &process{cmd: exec.CommandContext(ctx, c.binary, "serve"), client: &http.Client{Transport: &http.Transport{}}, gone: make(chan struct{}), kill: kill}
	p.cmd.Env = c.env
	stderr, err := p.cmd.StderrPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	up := make(chan string, 1)
	var tail []string
	go func() {
		defer close(p.gone)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			var line struct {
				Message string `json:"msg"`
				Level   string `json:"level"`
				Data    string `json:"listen_addr"`
			}
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Message == "mero-auth is up" {
				up <- line.Data
			}
			if line.Level != "INFO" {
				tail = append(tail, lines.Text())
			}
		}
		_ = p.cmd.Wait() // killed
	}()
	t.Cleanup(func() {
		kill()
		<-p.gone
		if len(tail) > 0 {
			t.Errorf("the log of a process holds more than information:\n%s", strings.Join(tail, "\n"))
		}
	})
	select {
	case address := <-up:
		p.url = "http://" + address
	case <-p.gone:
		t.Fatalf("the service did not start:\n%s", strings.Join(tail, "\n"))
	}
	c.process = p
}

// call sends a request. Without a complete answer the error is errLost.
func (c *crash) call(method, path, token string, body, data any) (status int, err error) {
	p := c.process
	var reader io.Reader = http.NoBody
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return 0, err
		}
		reader = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, p.url+path, reader)
	if err != nil {
		return 0, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := p.client.Do(req)
	if err != nil {
		return 0, errLost
	}
	raw, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return 0, errLost
	}
	var envelope struct {
		Data  json.RawMessage `json:"data"`
		Error string          `json:"error"`
	}
	if err := json.Unmarshal(raw, &envelope); err != nil {
		return res.StatusCode, fmt.Errorf("body %q: %w", raw, err)
	}
	if res.StatusCode != http.StatusOK {
		return res.StatusCode, fmt.Errorf("%s (%s)", envelope.Error, res.Header.Get("X-Auth-Error"))
	}
	if data != nil {
		return res.StatusCode, json.Unmarshal(envelope.Data, data)
	}
	return res.StatusCode, nil
}

// part decodes one part of a token.
func part(t *testing.T, raw string, i int) (members map[string]any) {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[i])
	if err == nil {
		err = json.Unmarshal(text, &members)
	}
	if err != nil {
		t.Fatalf("token %q: %v", raw, err)
	}
	return members
}

func subject(t *testing.T, raw string) string {
	t.Helper()
	sub, _ := part(t, raw, 1)["sub"].(string)
	return sub
}
