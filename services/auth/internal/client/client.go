// Package client calls the HTTP interface of a mero-auth service, for the commands of mero-auth.
//
// A call presents the access token of a [Session]. When the service says that it has expired, or that it knows it no
// longer (its signing secret was withdrawn), the session is refreshed once, under the lock of its file, and the call is
// repeated: two commands that run at the same time never present one refresh token twice, which the service would take
// for theft.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/calimero-network/mero-go/pkg/identity"
)

// timeout bounds a call: the slowest, a password login behind a full queue, takes a few seconds.
const timeout = 30 * time.Second

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 20

// ErrNoSession says that a call needs a token and there is none.
var ErrNoSession = errors.New("not logged in; run `mero-auth token login` or set MERO_AUTH_TOKEN")

// ErrEnded says that the stored session cannot be refreshed any more.
var ErrEnded = errors.New("the session has ended")

// Error is a refusal by the service.
type Error struct {
	Status     int
	Reason     string // X-Auth-Error, may be empty
	Message    string
	RetryAfter string // seconds, as sent
}

// Error says what the service said and, where that helps, what to do.
func (e *Error) Error() string {
	text := e.Message
	if e.Reason != "" && !strings.Contains(text, e.Reason) {
		text += " (" + e.Reason + ")"
	}
	if e.RetryAfter != "" {
		text += "; try again in " + e.RetryAfter + " s"
	}
	return text
}

// refreshable reports whether a successor of the access token may be what helps. A secret that was withdrawn at once
// makes its tokens invalid, not expired, and the refresh token beside them is still good.
func (e *Error) refreshable() bool {
	return e.Reason == identity.TokenExpired || e.Reason == identity.InvalidToken
}

// Client calls one service.
type Client struct {
	base    string
	http    *http.Client
	session Session
	file    *File // nil when the token was given from outside: then nothing is refreshed or kept
}

// Pair is what a login and a refresh answer.
type Pair struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

// New returns a client of the service at base, an absolute http(s) URL. With a token given from outside it is presented
// as it is; otherwise the session in file is.
func New(base, token string, file *File) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("the server must be an absolute http(s) URL, such as http://127.0.0.1:3001, not %q", base)
	}
	c := &Client{base: strings.TrimSuffix(base, "/"), file: file}
	c.http = &http.Client{
		Timeout: timeout,
		// The token must not follow a redirect to another place, and the interface has none.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if token != "" {
		c.session, c.file = Session{Access: token}, nil
		return c, nil
	}
	if c.session, err = file.Session(c.base); err != nil {
		return nil, err
	}
	return c, nil
}

// Server returns the base URL.
func (c *Client) Server() string { return c.base }

// Session returns the tokens in use.
func (c *Client) Session() Session { return c.session }

// Call sends body as JSON, nil for none, and decodes the payload of the answer into out, which may be nil. Without a
// session it is [ErrNoSession]; a refusal is an *[Error].
func (c *Client) Call(ctx context.Context, method, path string, body, out any) error {
	if c.session.Access == "" {
		return ErrNoSession
	}
	_, err := c.send(ctx, method, path, c.session.Access, body, out)
	if refused, is := errors.AsType[*Error](err); is && refused.refreshable() && c.file != nil {
		if err := c.refresh(ctx); err != nil {
			return err
		}
		_, err = c.send(ctx, method, path, c.session.Access, body, out)
		return err
	}
	return err
}

// Open is Call for routes that need no token.
func (c *Client) Open(ctx context.Context, method, path string, body, out any) error {
	_, err := c.send(ctx, method, path, "", body, out)
	return err
}

// Validate asks the service who the token is. The headers are those of the answer.
func (c *Client) Validate(ctx context.Context) (http.Header, error) {
	if c.session.Access == "" {
		return nil, ErrNoSession
	}
	return c.send(ctx, http.MethodGet, "/auth/validate", c.session.Access, nil, nil)
}

// Keep stores a new session of this server, if it has a place, and goes on with it.
func (c *Client) Keep(p Pair) error {
	c.session = Session(p)
	if c.file == nil {
		return nil
	}
	return c.file.Update(c.base, func(Session) (Session, error) { return c.session, nil })
}

// Forget drops the session.
func (c *Client) Forget() error {
	c.session = Session{}
	if c.file == nil {
		return nil
	}
	return c.file.Update(c.base, func(Session) (Session, error) { return Session{}, nil })
}

// refresh replaces the session by its successor, unless another command has done so meanwhile.
func (c *Client) refresh(ctx context.Context) error {
	return c.file.Update(c.base, func(stored Session) (Session, error) {
		if stored.Access != c.session.Access && stored.Access != "" {
			c.session = stored
			return stored, nil
		}
		if stored.Refresh == "" {
			return stored, fmt.Errorf("%w; run `mero-auth token login --server %s`", ErrEnded, c.base)
		}
		var next Pair
		if _, err := c.send(ctx, http.MethodPost, "/auth/refresh", "", Pair(stored), &next); err != nil {
			if refused, is := errors.AsType[*Error](err); is && refused.Status == http.StatusUnauthorized {
				return stored, fmt.Errorf("%w (%w); run `mero-auth token login --server %s`", ErrEnded, err, c.base)
			}
			return stored, err
		}
		c.session = Session(next)
		return c.session, nil
	})
}

func (c *Client) send(ctx context.Context, method, path, token string, body, out any) (http.Header, error) {
	var payload io.Reader = http.NoBody
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		payload = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, payload)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no answer from %s: %w", c.base, bare(err))
	}
	defer func() { _ = res.Body.Close() }() // read to its end or given up
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("the answer of %s: %w", c.base, err)
	}
	if res.StatusCode != http.StatusOK {
		return res.Header, refusal(res, text)
	}
	if out == nil {
		return res.Header, nil
	}
	envelope := struct {
		Data any `json:"data"`
	}{out}
	if err := json.Unmarshal(text, &envelope); err != nil {
		return res.Header, fmt.Errorf("%s does not answer like mero-auth; is --server right? %w", c.base, err)
	}
	return res.Header, nil
}

// bare drops the address from an error of net/http: it is named already.
func bare(err error) error {
	if wrapped, is := errors.AsType[*url.Error](err); is {
		return wrapped.Err
	}
	return err
}

func refusal(res *http.Response, text []byte) *Error {
	var envelope struct {
		Error string `json:"error"`
	}
	e := &Error{Status: res.StatusCode, Reason: res.Header.Get(identity.HeaderError), RetryAfter: res.Header.Get("Retry-After")}
	if json.Unmarshal(text, &envelope) == nil {
		e.Message = envelope.Error
	}
	if e.Message == "" {
		e.Message = "the service answered " + res.Status
	}
	return e
}
