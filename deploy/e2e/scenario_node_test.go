package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"net/http"
	"slices"
	"testing"
)

// base58 is the Bitcoin alphabet's encoding of a hash.
func base58(b []byte) string {
	const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	n, base, digit := new(big.Int).SetBytes(b), big.NewInt(58), new(big.Int)
	var out []byte
	for n.Sign() > 0 {
		n.DivMod(n, base, digit)
		out = append(out, alphabet[digit.Int64()])
	}
	for _, zero := range b {
		if zero != 0 {
			break
		}
		out = append(out, alphabet[0])
	}
	slices.Reverse(out)
	return string(out)
}

// blobID is the id that content has in every node: the hash of the hashes of its pieces of a mebibyte.
func blobID(content []byte) string {
	var ids []byte
	for piece := range slices.Chunk(content, 1<<20) {
		sum := sha256.Sum256(piece)
		ids = append(ids, sum[:]...)
	}
	sum := sha256.Sum256(ids)
	return base58(sum[:])
}

func TestScenarioClientKeyStoresListsAndDeletesABlob(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	key := s.token(t, "blob")
	content := random(3<<20 + 17)
	sum := sha256.Sum256(content)

	var put struct {
		ID   string `json:"blob_id"`
		Size int    `json:"size"`
	}
	if err := s.call(t, "PUT", "/admin-api/blobs?hash="+base58(sum[:]), key, content).data(&put); err != nil {
		t.Fatal(err)
	}
	if put.ID != blobID(content) || put.Size != len(content) {
		t.Fatalf("PUT answers %+v, want id %s and size %d", put, blobID(content), len(content))
	}
	target := "/admin-api/blobs/" + put.ID
	got := s.call(t, "GET", target, key, nil).want(t, http.StatusOK)
	if !bytes.Equal(got.body, content) {
		t.Error("GET answers another content")
	}
	head := s.call(t, "HEAD", target, key, nil).want(t, http.StatusOK)
	for _, a := range []answer{got, head} {
		if id, hash := a.header.Get("X-Blob-Id"), a.header.Get("X-Blob-Hash"); id != put.ID || hash != hex.EncodeToString(sum[:]) {
			t.Errorf("%s: X-Blob-ID %q, X-Blob-Hash %q", a.what, id, hash)
		}
	}
	if len(head.body) != 0 {
		t.Errorf("HEAD answers a body of %d bytes", len(head.body))
	}
	if !slices.Contains(blobs(t, s, key), put.ID) {
		t.Error("the list of blobs does not name the new one")
	}
	s.call(t, "DELETE", target, key, nil).want(t, http.StatusOK)
	s.call(t, "HEAD", target, key, nil).want(t, http.StatusNotFound)
	if slices.Contains(blobs(t, s, key), put.ID) {
		t.Error("the list of blobs names the deleted one")
	}
}

func blobs(t *testing.T, s *administered, key string) []string {
	t.Helper()
	var list struct {
		Blobs []struct {
			ID string `json:"blob_id"`
		} `json:"blobs"`
	}
	if err := s.call(t, "GET", "/admin-api/blobs", key, nil).data(&list); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, b := range list.Blobs {
		ids = append(ids, b.ID)
	}
	return ids
}

func TestScenarioContextsAndIdentities(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	list, execute := s.token(t, "context:list"), s.token(t, "context:execute")

	var contexts struct {
		Contexts []json.RawMessage `json:"contexts"`
	}
	if err := s.call(t, "GET", "/admin-api/contexts", list, nil).data(&contexts); err != nil {
		t.Fatal(err)
	}
	if contexts.Contexts == nil {
		t.Error("the list of contexts is null, want a list")
	}
	var first, second struct {
		PublicKey string `json:"publicKey"`
	}
	for _, into := range []any{&first, &second} {
		if err := s.call(t, "POST", "/admin-api/identity/context", execute, nil).data(into); err != nil {
			t.Fatal(err)
		}
	}
	if first.PublicKey == "" || first.PublicKey == second.PublicKey {
		t.Errorf("two new identities: %q and %q", first.PublicKey, second.PublicKey)
	}
	refused(t, s.call(t, "POST", "/admin-api/identity/context", list, nil), permissionDenied)
	refused(t, s.call(t, "GET", "/admin-api/contexts", s.token(t, "blob:list"), nil), permissionDenied)
}

func TestScenarioPublicRoutesNeedNoToken(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	for _, target := range []string{"/admin-api/health", "/admin-api/ready", "/admin-api/is-authed"} {
		for _, token := range []string{"", "garbage", s.admin} {
			s.call(t, "GET", target, token, nil).want(t, http.StatusOK)
		}
	}
	refused(t, s.call(t, "POST", "/admin-api/health", "", nil), missingToken)
	// What merely begins with /admin is the node's, what merely begins with /auth is not the auth service's.
	refused(t, s.call(t, "GET", "/admin-api/", "", nil), missingToken)
	refused(t, s.call(t, "GET", "/authentic", "", nil), missingToken)
	if a := s.call(t, "GET", "/admin", "", nil).want(t, http.StatusFound); a.header.Get("Location") != "/admin-dashboard/" {
		t.Errorf("GET /admin leads to %q", a.header.Get("Location"))
	}
}
