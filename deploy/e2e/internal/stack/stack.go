// Package stack starts what `make up` starts natively (mero-auth, merod and nginx with the shipped configuration) on free
// ports and in a directory of its own, as often as tests want, and stops it again without leaving a process behind.
package stack

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/calimero-network/mero-go/pkg/freeport"
)

// Programs are the paths of what a stack consists of.
type Programs struct {
	Root   string // the repository
	Auth   string // mero-auth
	Node   string // merod
	Bundle string // mero-bundle
	Nginx  string
}

// Settings are what a stack has beyond the settings of `make up`. The zero value is the shipped stack.
type Settings struct {
	Auth map[string]string // environment of mero-auth
	Node map[string]string // environment of merod

	// AuthAddr and NodeAddr are where nginx finds the services; the service is not started when its address is given.
	AuthAddr, NodeAddr string

	// Nginx changes the shipped mero.conf: for mistakes that an operator could make.
	Nginx func(conf string) string

	// Record puts a relay before each service that keeps what nginx sent.
	Record bool

	// Secrets collects what no log may hold; a new one when nil.
	Secrets *Secrets
}

// Stack is a running stack. Its processes are restarted, killed and inspected by the tests.
type Stack struct {
	URL      string // the address that people use
	Addr     string // host:port of nginx
	AuthAddr string // host:port of mero-auth itself
	NodeAddr string // host:port of merod itself
	Dir      string

	Auth, Node, Nginx  *Process // nil when not started
	AuthLink, NodeLink *Relay   // nil when nothing is recorded
	Secrets            *Secrets

	authProgram string
	authEnv     []string
}

// readyWithin is how long a service may take to become healthy on a machine that is busy with other tests.
const readyWithin = 2 * time.Minute

// Start starts a stack in dir, which must have a short path (Unix sockets), and waits until it is healthy.
func Start(ctx context.Context, p Programs, dir string, s Settings) (*Stack, error) {
	st := &Stack{Dir: dir, Secrets: s.Secrets, authProgram: p.Auth}
	if st.Secrets == nil {
		st.Secrets = NewSecrets()
	}
	if err := st.start(ctx, p, s); err != nil {
		return nil, errors.Join(err, st.Stop())
	}
	return st, nil
}

func (st *Stack) start(ctx context.Context, p Programs, s Settings) error {
	st.Addr = freeport.Addr()
	st.URL = "http://localhost" + st.Addr[strings.LastIndexByte(st.Addr, ':'):]
	st.AuthAddr, st.NodeAddr = s.AuthAddr, s.NodeAddr
	if err := os.MkdirAll(filepath.Dir(st.KeyFile()), 0o700); err != nil {
		return err
	}
	if s.AuthAddr == "" {
		if err := st.startAuth(ctx, s); err != nil {
			return err
		}
	} else if err := writeKey(st.KeyFile()); err != nil {
		return err
	}
	if s.NodeAddr == "" {
		if err := st.startNode(ctx, p, s); err != nil {
			return err
		}
	}
	authAddr, nodeAddr := st.AuthAddr, st.NodeAddr
	if s.Record {
		var err error
		if st.AuthLink, err = NewRelay(st.AuthAddr); err != nil {
			return err
		}
		if st.NodeLink, err = NewRelay(st.NodeAddr); err != nil {
			return err
		}
		authAddr, nodeAddr = st.AuthLink.Addr, st.NodeLink.Addr
	}
	return st.startNginx(ctx, p, s.Nginx, authAddr, nodeAddr)
}

// startAuth starts mero-auth with the environment that `make up` gives it.
func (st *Stack) startAuth(ctx context.Context, s Settings) error {
	st.AuthAddr = freeport.Addr()
	operators := freeport.Addr()
	st.authEnv = environment(map[string]string{
		"AUTH_LISTEN_ADDR":                st.AuthAddr,
		"AUTH_ADMIN_ADDR":                 operators,
		"AUTH_PUBLIC_URL":                 st.URL,
		"AUTH_STORAGE__PATH":              "data/auth",
		"AUTH_SECRETS__KEY_DIR":           "data/keys",
		"AUTH_ASSERTION__KEY_FILE":        st.KeyFile(),
		"AUTH_NODE__ENFORCES_PERMISSIONS": "true",
		"AUTH_CORS__ALLOW_ALL_ORIGINS":    "true",
		"AUTH_PROVIDERS__USER_PASSWORD":   "true",
		"AUTH_PROVIDERS__ETH_WALLET":      "true",
		// The scenarios log in from one address, one after the other without a pause.
		"AUTH_SECURITY__RATE_LIMIT__RATE_LIMIT_RPM":   "6000",
		"AUTH_SECURITY__RATE_LIMIT__RATE_LIMIT_BURST": "1000",
	}, s.Auth)
	st.Auth = &Process{
		Name: "mero-auth", Dir: st.Dir, Env: st.authEnv, Command: []string{st.authProgram},
		Ready: answers("http://" + operators + "/readyz"),
	}
	return st.Auth.Start(ctx)
}

// KeyFile is the file with the assertion keys that gate and node share.
func (st *Stack) KeyFile() string { return filepath.Join(st.Dir, "data", "link", "assertion.keys") }

// writeKey makes the key that mero-auth would make, for a node whose gate is none of ours.
func writeKey(path string) error {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	kid := sha256.Sum256(key)
	return os.WriteFile(path, fmt.Appendf(nil, "%x %s\n", kid[:4], base64.StdEncoding.EncodeToString(key)), 0o600)
}

// startNode starts merod with the environment that `make up` gives it.
func (st *Stack) startNode(ctx context.Context, p Programs, s Settings) error {
	st.Node = NodeProcess(p, st.Dir, st.KeyFile(), s.Node)
	st.NodeAddr = st.Node.Addr
	return st.Node.Start(ctx)
}

// NodeProcess is a merod, not yet started, with the environment that `make up` gives it and extra settings; an empty
// extra value unsets.
func NodeProcess(p Programs, dir, keyFile string, extra map[string]string) *Process {
	addr := freeport.Addr()
	port := addr[strings.LastIndexByte(addr, ':')+1:]
	env := environment(map[string]string{
		"MEROD_SERVER__LISTEN":                    "/ip4/127.0.0.1/tcp/" + port,
		"MEROD_SERVER__AUTH_MODE":                 "proxy",
		"MEROD_SERVER__PROXY__ASSERTION_KEY_FILE": keyFile,
	}, extra)
	return &Process{
		Name: "merod", Addr: addr, Dir: dir, Env: env,
		Command: []string{p.Node, "--home", filepath.Join(dir, "data"), "--node", "node", "run", "--init"},
		Ready:   answers("http://" + addr + "/admin-api/health"),
	}
}

// startNginx starts nginx with the shipped configuration; only the two included files, which a deployment provides, are
// made from the shipped ones with other addresses in them, and it is patient with the gate.
func (st *Stack) startNginx(ctx context.Context, p Programs, change func(string) string, authAddr, nodeAddr string) error {
	conf, state := filepath.Join(st.Dir, "nginx"), filepath.Join(st.Dir, "nginx-state")
	for _, dir := range []string{conf, state} {
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // nginx's workers are another user
			return err
		}
	}
	if change == nil {
		change = func(s string) string { return s }
	}
	if st.Auth != nil {
		change = patient(change)
	}
	files := []struct {
		from, to string
		change   func(string) string
	}{
		{"mero.conf", "mero.conf", change},
		{"listen.native.conf", "listen.conf", strings.NewReplacer("127.0.0.1:8080", st.Addr).Replace},
		{"upstreams.native.conf", "upstreams.conf", strings.NewReplacer("127.0.0.1:3001", authAddr, "127.0.0.1:2528", nodeAddr).Replace},
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(p.Root, "nginx", f.from))
		if err != nil {
			return err
		}
		changed := f.change(string(text))
		if f.from != "mero.conf" && changed == string(text) {
			return fmt.Errorf("nginx/%s does not hold the address that a deployment replaces", f.from)
		}
		if err := os.WriteFile(filepath.Join(conf, f.to), []byte(changed), 0o644); err != nil { //nolint:gosec // as shipped
			return err
		}
	}
	st.Nginx = &Process{
		Name: "nginx", Dir: st.Dir, Env: environment(nil, nil),
		Command: []string{p.Nginx, "-e", "stderr", "-p", state + "/", "-c", filepath.Join(conf, "mero.conf")},
		Ready:   accepts(st.Addr),
	}
	return st.Nginx.Start(ctx)
}

// patient has nginx wait longer for the gate after a change: five seconds are right for people, and short for a machine that
// runs dozens of stacks at once. What nginx does when they are over is seen with gates of the tests' own.
func patient(change func(string) string) func(string) string {
	longer := strings.NewReplacer("proxy_connect_timeout 2s;", "proxy_connect_timeout 60s;", "proxy_connect_timeout 5s;", "proxy_connect_timeout 60s;",
		"proxy_send_timeout 5s;", "proxy_send_timeout 60s;", "proxy_read_timeout 5s;", "proxy_read_timeout 60s;")
	return func(conf string) string { return longer.Replace(change(conf)) }
}

// Operate runs a command of mero-auth on the host and returns what it prints.
func (st *Stack) Operate(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, st.authProgram, args...) //nolint:gosec // what Build has made
	cmd.Dir, cmd.Env = st.Dir, st.authEnv
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("mero-auth %v: %w", args, err)
	}
	return out, nil
}

// BootstrapSecret runs `mero-auth bootstrap show` as the operator does.
func (st *Stack) BootstrapSecret(ctx context.Context) (string, error) {
	out, err := st.Operate(ctx, "bootstrap", "show")
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(string(out))
	st.Secrets.Add("bootstrap secret", secret)
	return secret, nil
}

// Stop stops every process and reports what the logs should not hold.
func (st *Stack) Stop() error {
	var errs []error
	for _, p := range st.processes() {
		errs = append(errs, p.Stop())
	}
	for _, r := range []*Relay{st.AuthLink, st.NodeLink} {
		if r != nil {
			r.Close()
		}
	}
	for _, p := range st.processes() {
		log, err := p.Log()
		errs = append(errs, err, st.Secrets.Check(p.Name, log))
	}
	return errors.Join(errs...)
}

func (st *Stack) processes() []*Process {
	var all []*Process
	for _, p := range []*Process{st.Nginx, st.Node, st.Auth} {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}

// environment is that of the tests without the settings of our services, then base, then extra.
func environment(base, extra map[string]string) []string {
	var env []string
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); !strings.HasPrefix(name, "AUTH_") && !strings.HasPrefix(name, "MERO") {
			env = append(env, entry)
		}
	}
	for name, value := range base {
		if _, replaced := extra[name]; !replaced {
			env = append(env, name+"="+value)
		}
	}
	for name, value := range extra {
		if value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// answers waits for a 200 of url.
func answers(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = res.Body.Close() }()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answered %s", url, res.Status)
		}
		return nil
	}
}
