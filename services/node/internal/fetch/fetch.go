// Package fetch downloads what a request names by URL, without becoming the requester's hand in the node's network.
//
// # What is refused
//
// A URL must be http or https, without user name or password. Plain http is refused unless it is permitted or the
// content will be checked against a hash. With a list of hosts, only those may be named. Every address that a
// connection is about to be made to is checked, and the connection is made to that address and no other, so a name that
// resolves differently the second time gains nothing: only addresses of the public internet are used, and those of
// networks that the configuration names. That holds for each of the few redirects that are followed; none leads from
// https to http. Proxies of the environment are not used, no cookies, credentials or referrers are sent, and bodies are
// not decompressed.
//
// # What is bounded
//
// Size, overall time, time to connect and to the first byte, redirects, the size of the head, and how slow the server may be:
// 1 MiB a minute. The content is nobody's to trust: the caller checks it.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// The errors that callers tell apart. They are wrapped.
var (
	ErrURL      = errors.New("the URL is not acceptable")
	ErrRefused  = errors.New("the address is not permitted")
	ErrTooLarge = errors.New("the download is larger than the limit")
	ErrDownload = errors.New("the download failed")
)

// StatusError is the answer of a server that is not 200. It is an [ErrDownload].
type StatusError int

// Error names the status.
func (e StatusError) Error() string {
	return fmt.Sprintf("%s: the server answers %d", ErrDownload, int(e))
}

// Is reports that every StatusError is an [ErrDownload].
func (e StatusError) Is(target error) bool { return target == ErrDownload }

// MaxURL is the length of the longest URL in bytes.
const MaxURL = 2048

const (
	maxRedirects   = 5
	maxHead        = 64 << 10
	connectTimeout = 10 * time.Second
	headTimeout    = 30 * time.Second
	// A download must bring minRate bytes a second on average once minRateAfter has passed: one that holds a place for long
	// has at least much to bring.
	minRate      = (1 << 20) / 60.0
	minRateAfter = 30 * time.Second
	// progressEvery is how far two lines of the log about one download are apart.
	progressEvery = 5 * time.Second
)

// Settings say what may be downloaded.
type Settings struct {
	// Hosts are the names that a URL may have, without port; "*.example.com" stands for all names below. Empty: any.
	Hosts []string
	// Networks may be reached although they are not the public internet.
	Networks []netip.Prefix
	// PlainHTTP permits http where no hash is given.
	PlainHTTP bool
	MaxSize   int64         // of a download in bytes, 0 for no limit
	Timeout   time.Duration // of a download in all
}

// Client downloads. It is safe for concurrent use.
type Client struct {
	settings Settings
	lookup   func(ctx context.Context, host string) ([]netip.Addr, error)
	now      func() time.Time
	log      *slog.Logger
	http     *http.Client
}

// New returns a client. It resolves names with lookup, nil for those of the system.
func New(s Settings, lookup func(ctx context.Context, host string) ([]netip.Addr, error), now func() time.Time, log *slog.Logger) *Client {
	if lookup == nil {
		lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	c := &Client{settings: s, lookup: lookup, now: now, log: log}
	c.http = &http.Client{
		Transport: &http.Transport{
			DialContext:            c.dial,
			DisableKeepAlives:      true, // a download is an event, not traffic
			DisableCompression:     true,
			TLSHandshakeTimeout:    connectTimeout,
			ResponseHeaderTimeout:  headTimeout,
			MaxResponseHeaderBytes: maxHead,
			ForceAttemptHTTP2:      true,
		},
		CheckRedirect: c.redirect,
	}
	return c
}

// Parse checks a URL as far as that can be done without the network. hashed says that the content will be checked against
// a hash. The error wraps [ErrURL] or [ErrRefused].
func (c *Client) Parse(raw string, hashed bool) (*url.URL, error) {
	if len(raw) > MaxURL {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrURL, MaxURL)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: it is malformed", ErrURL) // without err, which repeats the URL
	}
	u.Fragment, u.RawFragment = "", ""
	return u, c.check(u, hashed)
}

// check looks at everything in a URL but the address behind its host.
func (c *Client) check(u *url.URL, hashed bool) error {
	host := u.Hostname()
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("%w: want http or https", ErrURL)
	case u.Opaque != "" || host == "":
		return fmt.Errorf("%w: it names no host", ErrURL)
	case u.User != nil:
		return fmt.Errorf("%w: it holds a user name", ErrURL)
	case len(c.settings.Hosts) > 0 && !slices.ContainsFunc(c.settings.Hosts, func(p string) bool { return matches(p, host) }):
		return fmt.Errorf("%w: the host is not one of the allowed hosts", ErrRefused)
	case u.Scheme == "http" && !hashed && !c.settings.PlainHTTP && !c.inNetworks(host):
		return fmt.Errorf("%w: plain http needs the hash of the content", ErrRefused)
	}
	return nil
}

// inNetworks reports whether a host is a literal address in one of the permitted networks, or localhost while loopback
// addresses are permitted.
func (c *Client) inNetworks(host string) bool {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		if !strings.EqualFold(host, "localhost") {
			return false
		}
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return within(c.settings.Networks, ip)
}

// matches reports whether a pattern, a name or "*." and a name, stands for a host.
func matches(pattern, host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	pattern = strings.ToLower(pattern)
	if below, ok := strings.CutPrefix(pattern, "*."); ok {
		return strings.HasSuffix(host, "."+below)
	}
	return host == pattern
}

type hashedKey struct{}

// Get begins a download and returns its body, which the caller must read to its end or error, and close. The context of
// the whole download is ctx, with the time limit. hashed is as in Parse. The error, also of reading, wraps one of the
// errors of this package, or the context's.
func (c *Client) Get(ctx context.Context, u *url.URL, hashed bool) (*Body, error) {
	if err := c.check(u, hashed); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, hashedKey{}, hashed), c.settings.Timeout)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("%w: it is malformed", ErrURL)
	}
	res, err := c.http.Do(req) //nolint:bodyclose // Body.Close closes it
	if err != nil {
		err = c.failure(ctx, err)
		cancel()
		return nil, err
	}
	began := c.now()
	b := &Body{client: c, ctx: ctx, cancel: cancel, body: res.Body, total: res.ContentLength, source: redacted(u), began: began, logged: began}
	b.watch = time.AfterFunc(minRateAfter, b.judge)
	switch {
	case res.StatusCode != http.StatusOK:
		err = StatusError(res.StatusCode)
	case c.settings.MaxSize > 0 && res.ContentLength > c.settings.MaxSize:
		err = ErrTooLarge
	}
	if err != nil {
		_ = b.Close()
		return nil, err
	}
	c.log.InfoContext(ctx, "download begins", "source", b.source, "bytes", b.total)
	return b, nil
}

// redirect decides about one redirect.
func (c *Client) redirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("%w: more than %d redirects", ErrDownload, maxRedirects)
	}
	if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return fmt.Errorf("%w: a redirect from https to %.8s", ErrRefused, req.URL.Scheme)
	}
	req.Header.Del("Referer") // its query may be a credential
	hashed, _ := req.Context().Value(hashedKey{}).(bool)
	if err := c.check(req.URL, hashed); err != nil {
		return fmt.Errorf("%w: in a redirect: %w", ErrRefused, err)
	}
	return nil
}

// dial connects to one of the addresses of a host that may be reached, and only to such a one.
func (c *Client) dial(ctx context.Context, network, hostPort string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	addrs, err := c.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	addrs = slices.DeleteFunc(addrs, func(a netip.Addr) bool { return !public(a) && !within(c.settings.Networks, a) })
	if len(addrs) == 0 {
		if _, err := netip.ParseAddr(host); err == nil {
			return nil, fmt.Errorf("%w: it is not one of the public internet", ErrRefused)
		}
		// The same error as for a name that does not exist, or a server that does not answer: who asks must not learn
		// which names the node's resolver knows.
		return nil, fmt.Errorf("%w: the host has no address that may be reached", ErrDownload)
	}
	var errs []error
	dialer := &net.Dialer{Timeout: connectTimeout}
	for _, addr := range addrs[:min(len(addrs), maxAddresses)] {
		conn, err := dialer.DialContext(ctx, network, netip.AddrPortFrom(addr, uint16(n)).String())
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// maxAddresses bounds how many addresses of one name are tried.
const maxAddresses = 8

func (c *Client) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr.Unmap()}, nil
	}
	addrs, err := c.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, nil
}

// failure names what went wrong without the URL, whose query may be a credential.
func (c *Client) failure(ctx context.Context, err error) error {
	if ctxErr := ctx.Err(); ctxErr != nil {
		return fmt.Errorf("%w: %w", ErrDownload, ctxErr)
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if errors.Is(err, ErrRefused) || errors.Is(err, ErrDownload) {
		return err
	}
	// As text: a time-out of this connection must not pass for one of the caller's.
	return fmt.Errorf("%w: %s", ErrDownload, err.Error())
}

// redacted is how a URL may be shown: without its query.
func redacted(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

// Body is a running download. It is for one goroutine.
type Body struct {
	client *Client
	ctx    context.Context //nolint:containedctx // it ends with the body
	cancel context.CancelFunc
	body   io.ReadCloser
	source string
	total  int64 // -1 if the server does not say
	n      atomic.Int64
	began  time.Time
	logged time.Time
	watch  *time.Timer
	slow   atomic.Bool
}

// judge ends a download that is too slow, also one that a read waits for, and otherwise looks again later.
func (b *Body) judge() {
	if b.ctx.Err() != nil {
		return // it has ended
	}
	if took := b.client.now().Sub(b.began); float64(b.n.Load()) < minRate*took.Seconds() {
		b.slow.Store(true)
		b.cancel()
		return
	}
	b.watch.Reset(progressEvery)
}

// Read reads on. Besides io.EOF, errors are those of [Client.Get].
func (b *Body) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	received := b.n.Add(int64(n))
	limit := b.client.settings.MaxSize
	switch {
	case limit > 0 && received > limit:
		return n, ErrTooLarge
	case errors.Is(err, io.EOF):
		b.client.log.InfoContext(b.ctx, "download complete", "source", b.source, "bytes", received)
		return n, err
	case err != nil && b.slow.Load():
		return n, fmt.Errorf("%w: the server sends too slowly: %d bytes since %s", ErrDownload, received, b.began.UTC().Format(time.RFC3339))
	case err != nil:
		return n, b.client.failure(b.ctx, err)
	}
	if now := b.client.now(); now.Sub(b.logged) >= progressEvery {
		b.logged = now
		b.client.log.InfoContext(b.ctx, "download", "source", b.source, "received", received, "bytes", b.total)
	}
	return n, nil
}

// Close ends the download.
func (b *Body) Close() error {
	b.watch.Stop()
	b.cancel()
	return b.body.Close()
}
