// Package freeport finds ports for the servers that tests start.
package freeport

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
)

// Addr returns a loopback host:port that stays reserved for its caller until the process ends: the system gives it neither
// to an outgoing connection nor to a listener on port 0, and no other call returns it, in this process or another. What
// has the address may listen on it as often as it likes. It panics when every port of the machine is taken.
//
// The reservation is a socket that is bound and never listens. Linux (tcp(7), SO_REUSEADDR) lets a second socket bind the
// address of such a one when both have SO_REUSEADDR, which every server sets, and when it names the port: whoever leaves
// the choice to the system gets another.
func Addr() string {
	port, err := reserve()
	if err != nil {
		panic(fmt.Errorf("freeport: no free port on this machine: %w", err))
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// Port is the port of an [Addr].
func Port() string { return Addr()[len("127.0.0.1:"):] }

// reserve binds a socket to a port of the system's choice and leaves it open.
func reserve() (int, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, os.NewSyscallError("setsockopt", err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	return bound.(*syscall.SockaddrInet4).Port, nil
}
