// Package identity names the headers in which the gate hands the caller's identity to the node.
//
// The gate sets all of them on every 200, empty when unknown, so that a proxy that copies only present
// headers can never let a client's own value through; the node reads exactly these names and no alias.
package identity

// The identity headers. X-Auth-Key and X-Auth-User carry the same key id.
const (
	HeaderKey         = "X-Auth-Key"
	HeaderUser        = "X-Auth-User"
	HeaderPermissions = "X-Auth-Permissions" // permission strings joined by commas
	HeaderExpires     = "X-Auth-Expires"     // expiry of the token, Unix seconds
	HeaderAssertion   = "X-Auth-Assertion"   // see package assertion
	HeaderError       = "X-Auth-Error"       // machine code of a denial
)

// Headers lists the headers of a successful decision.
var Headers = []string{HeaderKey, HeaderUser, HeaderPermissions, HeaderExpires, HeaderAssertion}

// The machine codes that X-Auth-Error carries.
const (
	MissingToken     = "missing_token"
	InvalidToken     = "invalid_token"
	TokenExpired     = "token_expired"
	TokenRevoked     = "token_revoked"
	TokenReuse       = "token_reuse"
	InvalidNode      = "invalid_node"
	InvalidTarget    = "invalid_target"
	PermissionDenied = "permission_denied"
)

// MaxKeyID is the longest key id in bytes.
const MaxKeyID = 128

// ValidKeyID reports whether s is a well-formed key id: 1 to [MaxKeyID] bytes of [A-Za-z0-9_-].
func ValidKeyID(s string) bool {
	if s == "" || len(s) > MaxKeyID {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
