package cors

import (
	"net/http"
	"strings"
)

// AllowsUpgrade reports whether the page that a WebSocket handshake comes from may open it. Browsers send no preflight
// for one and let any page read what comes, so the server has to refuse. A request without Origin is from no
// page; one from a page of this very host is always allowed.
func (r *Rules) AllowsUpgrade(req *http.Request) bool {
	lines := req.Header[hOrigin]
	if len(lines) == 0 || r.allowAll {
		return true
	}
	if len(lines) > 1 {
		return false
	}
	if _, listed := r.origins[lines[0]]; listed {
		return true
	}
	scheme, host, ok := strings.Cut(lines[0], "://")
	return ok && (scheme == "http" || scheme == "https") && host != "" && strings.EqualFold(host, req.Host)
}
