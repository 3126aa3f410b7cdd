package stack

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync"
)

// Relay passes TCP connections on, byte for byte, and keeps the requests that went through.
type Relay struct {
	Addr string

	target   string
	listener net.Listener

	mu       sync.Mutex
	conns    []net.Conn
	accepted int
	requests []Request
}

// Request is a request as it was on the wire.
type Request struct {
	Conn    int // which connection, from 1
	Method  string
	Target  string
	Proto   string
	Headers []Field // names and order as sent
	Body    int64   // length of the payload
	Trailer []Field
}

// Field is one header line.
type Field struct{ Name, Value string }

// Values returns the values of every line of that name, in any case.
func (r Request) Values(name string) []string {
	var values []string
	for _, f := range r.Headers {
		if strings.EqualFold(f.Name, name) {
			values = append(values, f.Value)
		}
	}
	return values
}

// Head returns the request line and the header lines as they were sent, with the blank line after them.
func (r Request) Head() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s\r\n", r.Method, r.Target, r.Proto)
	for _, f := range r.Headers {
		fmt.Fprintf(&b, "%s: %s\r\n", f.Name, f.Value)
	}
	b.WriteString("\r\n")
	return b.String()
}

// NewRelay starts a relay to target.
func NewRelay(target string) (*Relay, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &Relay{Addr: listener.Addr().String(), target: target, listener: listener}
	go r.accept()
	return r, nil
}

// Close stops the relay and ends every connection.
func (r *Relay) Close() {
	_ = r.listener.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range r.conns {
		_ = conn.Close()
	}
}

// Connections returns how many connections were opened so far.
func (r *Relay) Connections() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.accepted
}

// Requests returns the requests so far. A request is in it before the target can have seen the end of its header.
func (r *Relay) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Request(nil), r.requests...)
}

func (r *Relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return // closed
		}
		r.mu.Lock()
		r.accepted++
		number := r.accepted
		r.mu.Unlock()
		go r.pass(client, number)
	}
}

// pass connects client with the target. The recorder reads along; when it does not understand the bytes any more (after
// an upgrade) it only drains.
func (r *Relay) pass(client net.Conn, number int) {
	server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", r.target)
	if err != nil {
		_ = client.Close()
		return
	}
	r.mu.Lock()
	r.conns = append(r.conns, client, server)
	r.mu.Unlock()
	overheard, recorder := io.Pipe()
	go func() {
		r.record(bufio.NewReaderSize(overheard, 64<<10), number)
		_, _ = io.Copy(io.Discard, overheard)
	}()
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(server, io.TeeReader(client, stepwise{recorder}))
		_ = recorder.Close()
		closeWrite(server)
	})
	both.Go(func() {
		_, _ = io.Copy(client, server)
		closeWrite(client)
	})
	both.Wait()
	_ = client.Close()
	_ = server.Close()
}

func closeWrite(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
}

// stepwise writes to a pipe and waits until its reader has digested all and asks for more.
type stepwise struct{ pipe *io.PipeWriter }

func (w stepwise) Write(p []byte) (int, error) {
	n, err := w.pipe.Write(p)
	if err == nil {
		_, err = w.pipe.Write(nil)
	}
	return n, err
}

func (r *Relay) record(from *bufio.Reader, conn int) {
	for {
		request, err := readHead(from)
		if err != nil {
			return
		}
		request.Conn = conn
		r.mu.Lock()
		index := len(r.requests)
		r.requests = append(r.requests, request)
		r.mu.Unlock()
		body, trailer, err := readBody(from, request)
		r.mu.Lock()
		r.requests[index].Body, r.requests[index].Trailer = body, trailer
		r.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// readHead reads a request line and header lines as nginx writes them. What follows an upgrade is none.
func readHead(from *bufio.Reader) (Request, error) {
	line, err := from.ReadString('\n')
	if err != nil {
		return Request{}, err
	}
	parts := strings.SplitN(strings.TrimRight(line, "\r\n"), " ", 3)
	if len(parts) != 3 {
		return Request{}, fmt.Errorf("request line %q", line)
	}
	headers, err := readFields(from)
	return Request{Method: parts[0], Target: parts[1], Proto: parts[2], Headers: headers}, err
}

// readBody skips the body of a request and returns its length and the trailer lines.
func readBody(from *bufio.Reader, request Request) (int64, []Field, error) {
	if len(request.Values("Transfer-Encoding")) > 0 {
		n, err := io.Copy(io.Discard, httputil.NewChunkedReader(from))
		if err != nil {
			return n, nil, err
		}
		trailer, err := readFields(from)
		return n, trailer, err
	}
	length := request.Values("Content-Length")
	if len(length) == 0 {
		return 0, nil, nil
	}
	n, err := strconv.ParseInt(length[0], 10, 64)
	if err != nil {
		return 0, nil, err
	}
	n, err = io.CopyN(io.Discard, from, n)
	return n, nil, err
}

func readFields(from *bufio.Reader) ([]Field, error) {
	var fields []Field
	for {
		line, err := from.ReadString('\n')
		if err != nil {
			return fields, err
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			return fields, nil
		}
		name, value, _ := strings.Cut(line, ":")
		fields = append(fields, Field{name, strings.TrimSpace(value)})
	}
}
