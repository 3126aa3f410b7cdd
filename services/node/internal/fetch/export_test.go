package fetch

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
)

// Public reports whether an address may be reached without being named.
func Public(addr netip.Addr) bool { return public(addr) }

// TrustTLS makes the client trust the certificates of tests.
func (c *Client) TrustTLS(config *tls.Config) {
	if t, ok := c.http.Transport.(*http.Transport); ok {
		t.TLSClientConfig = config
	}
}

// Dial replaces what makes connections.
func (c *Client) Dial(dial func(context.Context, string, string) (net.Conn, error)) {
	if t, ok := c.http.Transport.(*http.Transport); ok {
		t.DialContext = dial
	}
}
