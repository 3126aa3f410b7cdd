package peer_test

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/mr-tron/base58"

	"github.com/calimero-network/mero-go/services/node/internal/peer"
)

// specPrivate and specPublic are the Ed25519 test vectors of libp2p's peer-ids specification.
const (
	specPrivate = "080112407e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e"
	specPublic  = "080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSpecificationVector(t *testing.T) {
	text := base58.Encode(unhex(t, specPrivate))
	key, err := peer.ParseKeypair(text)
	if err != nil {
		t.Fatal(err)
	}
	if got := peer.Keypair(key); got != text {
		t.Errorf("Keypair = %q, want %q", got, text)
	}
	want := base58.Encode(append([]byte{0x00, 0x24}, unhex(t, specPublic)...))
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		t.Fatalf("public key is %T", key.Public())
	}
	if got := peer.ID(public); got != want || !strings.HasPrefix(got, "12D3KooW") {
		t.Errorf("ID = %q, want %q", got, want)
	}
}

func TestParseKeypair_Refuses(t *testing.T) {
	good := unhex(t, specPrivate)
	flipped := unhex(t, specPrivate)
	flipped[len(flipped)-1] ^= 1
	rsa := unhex(t, specPrivate)
	rsa[1] = 0
	for name, s := range map[string]string{
		"empty": "", "no base58": "0OIl", "cut": base58.Encode(good[:len(good)-1]), "longer": base58.Encode(append(good, 0)),
		"halves of two keys": base58.Encode(flipped), "RSA": base58.Encode(rsa), "huge": strings.Repeat("z", 1<<20),
	} {
		if _, err := peer.ParseKeypair(s); !errors.Is(err, peer.ErrInvalid) {
			t.Errorf("%s: ParseKeypair = %v, want ErrInvalid", name, err)
		}
	}
}

func TestGenerate_KeysDiffer(t *testing.T) {
	a, err := peer.Generate()
	if err != nil {
		t.Fatal(err)
	}
	b, err := peer.Generate()
	if err != nil {
		t.Fatal(err)
	}
	if a.Equal(b) {
		t.Error("two generated keys are equal")
	}
	if got, err := peer.ParseKeypair(peer.Keypair(a)); err != nil || !got.Equal(a) {
		t.Errorf("a generated key does not survive its text form: %v", err)
	}
}

func FuzzParseKeypair(f *testing.F) {
	b, err := hex.DecodeString(specPrivate)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(base58.Encode(b))
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		if key, err := peer.ParseKeypair(s); err == nil && peer.Keypair(key) != s {
			t.Errorf("Keypair(ParseKeypair(%q)) = %q", s, peer.Keypair(key))
		}
	})
}
