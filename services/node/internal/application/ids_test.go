package application_test

import (
	"encoding/hex"
	"testing"

	"github.com/calimero-network/mero-go/services/node/internal/application"
	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// Ids that nodes of the reference gave, for a bundle that was published, and for a name that is not ASCII.
func TestBundleID(t *testing.T) {
	for _, tt := range []struct{ pkg, signer, want string }{
		{"com.calimero.kv-store", "did:key:z6MkoWkrrFjwC4FXQfyGwwcgTPvRoJZenMEVm9Z332bdkz6B", "e810e86f443e8c1feb98bb83a266246478a34c75397a66a78bd5a790c6d72d0d"},
		{"com.calimero.café", "did:key:z6MkExample", "cf9b180c7952ef0aa41fe73e9cb7ac2b4b19917099341e295534aa4a50861bd5"},
	} {
		if got, err := application.BundleID(tt.pkg, tt.signer); err != nil || hex.EncodeToString(got[:]) != tt.want {
			t.Errorf("%s: %x, %v, want %s", tt.pkg, got, err, tt.want)
		}
	}
}

// SHA-256 over 32 bytes, the size in 8 bytes little-endian, and both texts with their lengths in 4.
func TestModuleID(t *testing.T) {
	var blob id.ID
	for i := range blob {
		blob[i] = byte(i)
	}
	got, err := application.ModuleID(blob, 204297, "https://example.com/app.wasm", []byte("{}"))
	if want := "738996ffbcacf64e79a6d3928a858844155f71627d67820c56353d6c34ca97af"; err != nil || hex.EncodeToString(got[:]) != want {
		t.Errorf("%x, %v, want %s", got, err, want)
	}
}
