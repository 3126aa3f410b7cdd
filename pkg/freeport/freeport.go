// Package freeport finds ports for the servers that tests start.
package freeport

import (
	"net"
	"os"
	"strconv"
	"sync/atomic"
)

// Ports are handed out one after the other from below the range that the system takes for outgoing connections and for
// listeners on port 0, so that nobody else takes a port between its choice and its use. The start depends on the
// process: two runs rarely meet.
const (
	first = 15000
	ports = 15000
)

var handedOut atomic.Uint32

// Addr returns a loopback host:port that nothing listens on and that no other call of the process has returned. It
// panics when every port of the machine is taken.
func Addr() string {
	for range ports {
		port := first + (uint32(os.Getpid())*97+handedOut.Add(1))%ports //nolint:gosec // any number will do
		addr := net.JoinHostPort("127.0.0.1", strconv.FormatUint(uint64(port), 10))
		listener, err := net.Listen("tcp", addr) //nolint:noctx // a bind on loopback does not block
		if err != nil {
			continue
		}
		if listener.Close() == nil {
			return addr
		}
	}
	panic("freeport: no free port on this machine")
}

// Port is the port of an [Addr].
func Port() string { return Addr()[len("127.0.0.1:"):] }
