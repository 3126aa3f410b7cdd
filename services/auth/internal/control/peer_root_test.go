//go:build root

package control_test

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/calimero-network/mero-go/pkg/shortdir"
	"github.com/calimero-network/mero-go/services/auth/internal/control"
)

const nobody = 65534

// asNobody runs fn on a thread of another user. The thread ends with it.
func asNobody(t *testing.T, fn func()) {
	t.Helper()
	done := make(chan syscall.Errno)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is of no use to anybody else
		keep := ^uintptr(0)
		_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, nobody, keep)
		if errno == 0 {
			fn()
		}
		done <- errno
	}()
	if errno := <-done; errno != 0 {
		t.Fatalf("become another user (these tests need root): %v", errno)
	}
}

// Another user of the host is kept out twice: by the mode of the socket and, should somebody widen it, by the
// kernel's word about who is asking.
func TestPeerOfAnotherUser(t *testing.T) {
	dir := shortdir.New(t)
	b, _ := start(t, dir)
	want, err := b.Ensure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o600, 0o666} {
		if err := os.Chmod(control.Path(dir), mode); err != nil {
			t.Fatal(err)
		}
		asNobody(t, func() {
			if answer, err := ask(dir); answer != "" || (mode == 0o600) != errors.Is(err, fs.ErrPermission) {
				t.Errorf("another user, mode %o: %q, %v", mode, answer, err)
			}
		})
		if answer, err := ask(dir); err != nil || !strings.Contains(answer, want.Secret) { // they are not in the owner's way
			t.Errorf("the owner, mode %o: %q, %v", mode, answer, err)
		}
	}
}

// ask is a request without net/http, which dials on threads of its own choice.
func ask(dir string) (answer string, err error) {
	conn, err := net.Dial("unix", control.Path(dir))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	// The service closes the connection of a stranger, maybe before this is written.
	_, _ = io.WriteString(conn, "POST /bootstrap/show HTTP/1.1\r\nHost: control\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
	all, err := io.ReadAll(conn)
	if errors.Is(err, syscall.ECONNRESET) {
		err = nil
	}
	return string(all), err
}
