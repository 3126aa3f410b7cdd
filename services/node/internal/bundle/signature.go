package bundle

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/mr-tron/base58"

	"github.com/calimero-network/mero-go/pkg/strictjson"
)

// ErrSignature reports a manifest whose signature is missing, malformed or not that of its signer.
var ErrSignature = errors.New("the bundle's signature is not valid")

// algorithm is the only one there is, in this spelling.
const algorithm = "ed25519"

// didPrefix begins the identifier of an Ed25519 key in the form did:key: "z" stands for base58 (Bitcoin), and the bytes
// 0xed 0x01 say what kind of key follows.
const didPrefix = "did:key:z"

// encoding has exactly one text for each value.
var encoding = base64.RawURLEncoding.Strict()

type signature struct {
	Algorithm string `json:"algorithm"`
	PublicKey string `json:"publicKey"` // base64url without padding
	Signature string `json:"signature"` // likewise
}

// UnmarshalJSON decodes a signature that has one reading.
func (s *signature) UnmarshalJSON(text []byte) error {
	type plain signature
	return strictjson.Unmarshal(text, (*plain)(s))
}

// SignerID returns the did:key of a public key.
func SignerID(key ed25519.PublicKey) string {
	return didPrefix + base58.Encode(append([]byte{0xed, 0x01}, key...))
}

// digest returns what is signed of a manifest: the SHA-256 of its canonical form without the member "signature" and
// without those whose names start with an underscore.
func digest(manifest []byte) ([]byte, error) {
	v, err := decode(manifest)
	if err != nil {
		return nil, err
	}
	members, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%w: it is not an object", ErrManifest)
	}
	for name := range members {
		if name == "signature" || strings.HasPrefix(name, "_") {
			delete(members, name)
		}
	}
	canonical, err := appendValue(nil, members)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(canonical)
	return sum[:], nil
}

// verify checks the signature of a manifest and that its signer id is that of the key.
func verify(manifest []byte, signerID string, s *signature) error {
	if s == nil {
		return fmt.Errorf("%w: there is none", ErrSignature)
	}
	if s.Algorithm != algorithm {
		return fmt.Errorf("%w: the algorithm is not %s", ErrSignature, algorithm)
	}
	key, err := encoding.DecodeString(s.PublicKey)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return fmt.Errorf("%w: the public key is malformed", ErrSignature)
	}
	sig, err := encoding.DecodeString(s.Signature)
	if err != nil || len(sig) != ed25519.SignatureSize {
		return fmt.Errorf("%w: the signature is malformed", ErrSignature)
	}
	if signerID != SignerID(key) {
		return fmt.Errorf("%w: signerId is not that of the key", ErrSignature)
	}
	sum, err := digest(manifest)
	if err != nil {
		return err
	}
	if !ed25519.Verify(key, sum, sig) {
		return fmt.Errorf("%w: it does not match the manifest", ErrSignature)
	}
	return nil
}

// sign returns the signature of a manifest, which names the signer already.
func sign(manifest []byte, key ed25519.PrivateKey) (json.RawMessage, error) {
	sum, err := digest(manifest)
	if err != nil {
		return nil, err
	}
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("public key of type %T", key.Public())
	}
	return json.Marshal(signature{
		Algorithm: algorithm, PublicKey: encoding.EncodeToString(public), Signature: encoding.EncodeToString(ed25519.Sign(key, sum)),
	})
}
