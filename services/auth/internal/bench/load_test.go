package bench_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// load keeps connections to one server and puts requests to it, each connection one at a time.
type load struct {
	pid      int // of the server whose processor time is counted
	conns    []net.Conn
	requests [][]byte
	next     []int // index of the next request, by connection
}

// connections is how many requests are in flight.
const connections = 16

func newLoad(t *testing.T, addr string, pid int, requests [][]byte) *load {
	t.Helper()
	l := &load{pid: pid, requests: requests}
	for i := range connections {
		conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() }) // nothing is pending
		l.conns, l.next = append(l.conns, conn), append(l.next, i*len(requests)/connections)
		// A connection on which nothing comes is closed after five seconds, and what is done until it is used may take as long.
		if _, err := l.drive(i, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// sample is what a load saw.
type sample struct {
	rate float64 // answers per second
	p99  time.Duration
	cpu  time.Duration // processor time of the server for each
}

// run loads the server for d.
func (l *load) run(t *testing.T, d time.Duration) sample {
	t.Helper()
	latencies := make([][]time.Duration, len(l.conns))
	errs := make([]error, len(l.conns))
	began, used := time.Now(), processorTime(t, l.pid)
	var wg sync.WaitGroup
	for i := range l.conns {
		wg.Go(func() { latencies[i], errs[i] = l.drive(i, began.Add(d)) })
	}
	wg.Wait()
	spent := time.Since(began)
	used = processorTime(t, l.pid) - used
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	all := slices.Concat(latencies...)
	slices.Sort(all)
	return sample{rate: float64(len(all)) / spent.Seconds(), p99: all[len(all)*99/100], cpu: used / time.Duration(len(all))}
}

// warm puts every request once, so that the server has seen all of its store before its time is taken.
func (l *load) warm(t *testing.T) {
	t.Helper()
	errs := make([]error, len(l.conns))
	var wg sync.WaitGroup
	for i := range l.conns {
		wg.Go(func() {
			buf := make([]byte, 16<<10)
			for at := i; at < len(l.requests) && errs[i] == nil; at += len(l.conns) {
				_, err := l.conns[i].Write(l.requests[at])
				errs[i] = errors.Join(err, readOK(l.conns[i], buf))
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// drive asks on one connection until the deadline, at least once.
func (l *load) drive(i int, deadline time.Time) ([]time.Duration, error) {
	latencies := make([]time.Duration, 0, 1<<16)
	buf := make([]byte, 16<<10)
	for {
		sent := time.Now()
		if len(latencies) > 0 && sent.After(deadline) {
			return latencies, nil
		}
		request := l.requests[l.next[i]%len(l.requests)]
		l.next[i]++
		if _, err := l.conns[i].Write(request); err != nil {
			return nil, err
		}
		if err := readOK(l.conns[i], buf); err != nil {
			return nil, fmt.Errorf("%w, asked %q", err, request)
		}
		latencies = append(latencies, time.Since(sent))
	}
}

// readOK reads one answer, which must be a 200.
func readOK(conn net.Conn, buf []byte) error {
	n, want := 0, -1
	for want < 0 || n < want {
		m, err := conn.Read(buf[n:])
		if err != nil {
			return err
		}
		n += m
		if want >= 0 {
			continue
		}
		if end := bytes.Index(buf[:n], []byte("\r\n\r\n")); end >= 0 {
			want = end + 4 + contentLength(buf[:end+2])
		}
	}
	if !bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 200")) || n != want {
		return fmt.Errorf("answer %q", buf[:n])
	}
	return nil
}

func contentLength(head []byte) int {
	const name = "\r\nContent-Length: "
	at := bytes.Index(head, []byte(name))
	if at < 0 {
		return 0
	}
	digits := head[at+len(name):]
	n, err := strconv.Atoi(string(digits[:bytes.IndexByte(digits, '\r')]))
	if err != nil {
		return 0
	}
	return n
}

// versus is a measurement with its denominator: for each, the medians over all turns.
type versus struct {
	rate, p99    float64 // ratios: ours by theirs
	cpu          float64 // ratio: theirs by ours
	ours, theirs sample
}

// compare loads two servers in turns. The ratios are medians of the turns, so that what else the machine does in one
// of them does not count.
func compare(t *testing.T, ours, theirs *load, turns int, d time.Duration) versus {
	t.Helper()
	ours.warm(t)
	ours.run(t, d/4)
	theirs.run(t, d/4)
	var a, b []sample
	var rates, p99s, cpus []float64
	for turn := range turns {
		var x, y sample
		if turn%2 == 0 {
			x, y = ours.run(t, d), theirs.run(t, d)
		} else {
			y, x = theirs.run(t, d), ours.run(t, d)
		}
		a, b = append(a, x), append(b, y)
		rates, p99s = append(rates, x.rate/y.rate), append(p99s, float64(x.p99)/float64(y.p99))
		cpus = append(cpus, float64(y.cpu)/float64(max(x.cpu, 1)))
	}
	return versus{rate: median(rates), p99: median(p99s), cpu: median(cpus), ours: typical(a), theirs: typical(b)}
}

func typical(samples []sample) sample {
	var rates, p99s, cpus []float64
	for _, s := range samples {
		rates, p99s, cpus = append(rates, s.rate), append(p99s, float64(s.p99)), append(cpus, float64(s.cpu))
	}
	return sample{rate: median(rates), p99: time.Duration(median(p99s)), cpu: time.Duration(median(cpus))}
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
