// Package jsonrpc asks a JSON-RPC 2.0 server over HTTP (jsonrpc.org/specification) that may be slow, broken or lying.
//
// A call has a deadline, is tried again only when no answer came back, reads a bounded answer with exactly one
// reading, follows no redirect and uses no proxy of the environment. After several failures in a row a circuit breaker
// spares the server and the callers for a while. What is called must only read: a call may reach the server twice.
package jsonrpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// DefaultTimeout bounds a call that has no other limit.
const DefaultTimeout = 5 * time.Second

const (
	maxTries   = 3
	firstPause = 50 * time.Millisecond // before the second try; doubles
	maxCalls   = 16                    // at once; a server that stalls then holds this many goroutines for a time-out
	maxAnswer  = 1 << 20               // bytes
	maxHeader  = 32 << 10              // bytes
)

// ErrUnavailable is the error of a call that got no usable answer: trying again later may help, and nothing is known
// of what was asked.
var ErrUnavailable = errors.New("the RPC server gave no usable answer")

// Error is an answer of the server that says no. Its text holds nothing of the answer.
type Error struct {
	Code   int64           // 0 when the answer has no whole number there
	Object json.RawMessage // the error member: a JSON object with one reading
}

// Error names the code.
func (e *Error) Error() string { return fmt.Sprintf("the RPC server answered with error %d", e.Code) }

// Options configure a Client.
type Options struct {
	Name    string           // what messages and metrics call the server, as in "near"
	URL     string           // http or https; a key in it is never part of an error
	APIKey  string           // sent as x-api-key and as bearer token, "" for none
	Timeout time.Duration    // of a call with all its tries; 0 is DefaultTimeout
	Now     func() time.Time // required; for the breaker
}

// Client asks one server. It is safe for concurrent use.
type Client struct {
	options Options
	http    *http.Client
	breaker breaker
	slots   chan struct{} // one element for each call in flight
	lastID  atomic.Uint64

	calls, failures, refused atomic.Uint64
}

// New returns a client. It opens no connection.
func New(o Options) *Client {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	return &Client{
		options: o,
		http: &http.Client{
			Transport: &http.Transport{
				// No Proxy: what this server says decides who is let in.
				DialContext:            (&net.Dialer{Timeout: o.Timeout}).DialContext,
				ForceAttemptHTTP2:      true,
				DisableCompression:     true,
				MaxIdleConnsPerHost:    maxCalls,
				IdleConnTimeout:        time.Minute,
				MaxResponseHeaderBytes: maxHeader,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		breaker: breaker{now: o.Now},
		slots:   make(chan struct{}, maxCalls),
	}
}

// Close closes the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Health is a reading of a client's counters.
type Health struct {
	Name     string // Options.Name
	Calls    uint64 // calls, however they ended
	Failures uint64 // calls that the server was asked and gave no usable answer to; its plain "no" is none
	Refused  uint64 // calls that ended without asking: the breaker was open, or too many were waiting
	State    State  // of the breaker
}

// Health reads the counters. They only grow; State is of this moment.
func (c *Client) Health() Health {
	return Health{
		Name: c.options.Name, Calls: c.calls.Load(), Failures: c.failures.Load(), Refused: c.refused.Load(),
		State: c.breaker.state(),
	}
}

// Call returns the result of a method. params is anything that encoding/json can write. Errors are an *[Error], wrap
// [ErrUnavailable], or, when the caller gave up, wrap [context.Canceled]. The result has one reading (see package
// strictjson) and is not null.
func (c *Client) Call(ctx context.Context, method string, params any) (json.RawMessage, error) {
	c.calls.Add(1)
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	allowed, probe := c.breaker.allow()
	if !allowed {
		c.refused.Add(1)
		return nil, c.unavailable("not asked, it failed too often lately")
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		c.refused.Add(1)
		c.breaker.done(probe, unknown)
		if errors.Is(caller.Err(), context.Canceled) {
			return nil, fmt.Errorf("%s: %w", c.options.Name, caller.Err())
		}
		return nil, c.unavailable("not asked, too many calls are under way")
	}
	result, err := c.exchange(ctx, method, params)
	_, saidNo := errors.AsType[*Error](err)
	switch {
	case err == nil, saidNo:
		c.breaker.done(probe, worked)
	case errors.Is(caller.Err(), context.Canceled):
		// Somebody who hangs up says nothing about the server, and must not be able to open the breaker.
		c.breaker.done(probe, unknown)
		return nil, fmt.Errorf("%s: %w", c.options.Name, caller.Err())
	case errors.Is(err, errTooLarge):
		// It may be the work of whoever chose what is asked, such as a contract; and it took no time.
		c.failures.Add(1)
		c.breaker.done(probe, unknown)
	default:
		c.failures.Add(1)
		c.breaker.done(probe, failed)
	}
	return result, err
}

type request struct {
	Version string `json:"jsonrpc"`
	ID      uint64 `json:"id"`
	Method  string `json:"method"`
	Params  any    `json:"params"`
}

// exchange asks until there is an answer, good or bad, or no time or try is left.
func (c *Client) exchange(ctx context.Context, method string, params any) (json.RawMessage, error) {
	id := c.lastID.Add(1)
	body, err := json.Marshal(request{"2.0", id, method, params})
	if err != nil {
		return nil, fmt.Errorf("%s: encode the call of %s: %w", c.options.Name, method, err)
	}
	pause := firstPause
	for try := 1; ; try++ {
		answer, status, err := c.post(ctx, body)
		switch {
		case err == nil && status != http.StatusOK:
			return nil, c.unavailable(fmt.Sprintf("HTTP status %d", status))
		case err == nil:
			result, err := decode(answer, id)
			if wrong, is := errors.AsType[*answerError](err); is {
				return nil, c.unavailable(wrong.Error())
			}
			return result, err
		case errors.Is(err, errTooLarge):
			return nil, fmt.Errorf("%s: %w: %w", c.options.Name, ErrUnavailable, err)
		case try == maxTries, !wait(ctx, pause):
			return nil, c.unavailable(redact(err))
		}
		pause *= 2
	}
}

var errTooLarge = fmt.Errorf("the answer is longer than %d bytes", maxAnswer)

// post sends one request. An error other than errTooLarge says that no whole answer came back; one try takes at most
// half of the time of a call, so that a second one is possible when a connection went silent.
func (c *Client) post(ctx context.Context, body []byte) (answer []byte, status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout/2)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.options.URL, bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "mero-auth")
	if c.options.APIKey != "" {
		r.Header.Set("X-Api-Key", c.options.APIKey)
		r.Header.Set("Authorization", "Bearer "+c.options.APIKey)
	}
	res, err := c.http.Do(r)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = res.Body.Close() }() // read as far as we wanted
	if res.StatusCode != http.StatusOK {
		return nil, res.StatusCode, nil
	}
	answer, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err == nil && len(answer) > maxAnswer {
		err = errTooLarge
	}
	return answer, res.StatusCode, err
}

// wait pauses, or reports false when the time of the call ends before.
func wait(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

func (c *Client) unavailable(why string) error {
	return fmt.Errorf("%s: %w: %s", c.options.Name, ErrUnavailable, why)
}

// redact is the text of a transport error without the address, whose path or query may be a key, and without what the
// server sent: a broken answer may repeat our request. net/http quotes it, but for the lines of a header.
func redact(err error) string {
	if wrapped, is := errors.AsType[*url.Error](err); is {
		err = wrapped.Err
	}
	text := err.Error()
	for _, mark := range []string{`"`, "malformed MIME header"} {
		if before, _, found := strings.Cut(text, mark); found {
			text = before + "(the answer is not repeated)"
		}
	}
	return text
}
