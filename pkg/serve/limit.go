package serve

import (
	"net"
	"sync"
)

// Limit returns a listener that has at most n connections open at a time. Further ones wait in the queue of the system until
// one of them is closed, whoever owns it then: a connection that a handler took over counts, too. l must be a TCP listener.
func Limit(l net.Listener, n int) net.Listener {
	return &limited{Listener: l, slots: make(chan struct{}, n), closed: make(chan struct{})}
}

type limited struct {
	net.Listener
	slots  chan struct{} // a value for each open connection
	close  sync.Once
	closed chan struct{}
}

// Accept waits for room and then for a connection.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	tcp, is := conn.(*net.TCPConn)
	if !is {
		<-l.slots
		_ = conn.Close() // it was never used
		return nil, &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: net.UnknownNetworkError("not TCP")}
	}
	return &limitedConn{TCPConn: tcp, release: sync.OnceFunc(func() { <-l.slots })}, nil
}

// Close closes the listener and wakes an Accept that waits for room.
func (l *limited) Close() error {
	l.close.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// limitedConn is a whole TCP connection, so that files are still sent by the system (sendfile).
type limitedConn struct {
	*net.TCPConn
	release func()
}

// Close closes the connection and makes room for another.
func (c *limitedConn) Close() error {
	err := c.TCPConn.Close()
	c.release()
	return err
}
