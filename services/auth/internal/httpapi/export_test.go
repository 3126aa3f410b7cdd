package httpapi

import (
	"net/http"
	"net/netip"
)

// ClientPrefix is what limits, sessions and the audit attribute a request to.
func ClientPrefix(trusted []netip.Prefix, remote string, forwardedFor ...string) string {
	s := &server{Deps: Deps{Trusted: trusted}}
	return s.clientPrefix(&http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": forwardedFor}})
}
