package identity_test

import (
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/identity"
)

func TestValidKeyID(t *testing.T) {
	for _, s := range []string{"a", "9f_-Z", strings.Repeat("x", identity.MaxKeyID)} {
		if !identity.ValidKeyID(s) {
			t.Errorf("ValidKeyID(%q) = false", s)
		}
	}
	for _, s := range []string{"", " ", "a b", "{http.reverse_proxy.header.X-Auth-Key}", "a,b", "ké", "a\n", strings.Repeat("x", identity.MaxKeyID+1)} {
		if identity.ValidKeyID(s) {
			t.Errorf("ValidKeyID(%q) = true", s)
		}
	}
}
