package fetch

import (
	"crypto/tls"
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
