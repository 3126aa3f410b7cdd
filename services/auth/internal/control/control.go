// Package control is the Unix socket over which commands on the host reach a running mero-auth.
//
// The socket lies in the storage directory and speaks HTTP. Only the user that the service runs as, and root,
// may use it: the kernel tells who is asking (SO_PEERCRED), so no secret is needed.
package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/calimero-network/mero-go/pkg/serve"
	"github.com/calimero-network/mero-go/services/auth/internal/operate"
)

// SocketName is the name of the socket in the storage directory.
const SocketName = "control.sock"

// ErrNotRunning says that no service listens on the socket.
var ErrNotRunning = errors.New("mero-auth is not running on this store")

// Path returns the path of the socket of the store in dir.
func Path(dir string) string { return filepath.Join(dir, SocketName) }

// Listen makes the socket, 0600, replacing one that a dead process left behind. The caller must hold the store.
func Listen(ctx context.Context, dir string) (net.Listener, error) {
	path := Path(dir)
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("control socket: the path %s is longer than the %d bytes that the system allows: choose a shorter storage.path", path, maxSocketPath)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l, err := (&net.ListenConfig{Control: ownerOnly}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("control socket: %w", err), l.Close())
	}
	return peerChecked{l}, nil
}

// maxSocketPath is the size of sockaddr_un.sun_path on Linux without the closing NUL.
const maxSocketPath = 107

// ownerOnly gives the socket its mode before it is bound, so that it never exists with a wider one.
func ownerOnly(_, _ string, conn syscall.RawConn) error {
	var err error
	if controlErr := conn.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); controlErr != nil {
		return controlErr
	}
	return err
}

// peerChecked closes connections of users other than our own and root.
type peerChecked struct{ net.Listener }

// Accept returns the next connection of an allowed user.
func (l peerChecked) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if uid, err := peerUID(conn); err == nil && (uid == 0 || int(uid) == os.Getuid()) {
			return conn, nil
		}
		_ = conn.Close() // the peer has no say in it
	}
}

func peerUID(conn net.Conn) (uint32, error) {
	unixConn, isUnix := conn.(*net.UnixConn)
	if !isUnix {
		return 0, errors.New("not a Unix socket")
	}
	raw, err := unixConn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	return cred.Uid, nil
}

// Server returns the server of the socket.
func Server(l net.Listener, s *operate.Service, log *slog.Logger) *serve.Server {
	return serve.New("control", l, Handler(s, log), 4096, log)
}

// callTimeout is enough for every command but a backup, which takes as long as the store is large.
const callTimeout = time.Minute

func (c Client) call(ctx context.Context, path string, in, into any) error {
	res, err := c.post(ctx, path, in, callTimeout)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // read-only
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

// post returns the answer of a command that was carried out; the caller closes its body.
func (c Client) post(ctx context.Context, path string, in any, timeout time.Duration) (*http.Response, error) {
	text, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	client := &http.Client{Timeout: timeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", Path(c.Dir))
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://control"+path, bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	res, err := client.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, ErrNotRunning
	case errors.Is(err, fs.ErrPermission), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return nil, fmt.Errorf("control socket: only the user that mero-auth runs as, and root, may use it: %w", err)
	case err != nil:
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return nil, errors.New(strings.TrimSpace(string(body)))
}
