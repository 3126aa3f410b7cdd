package bundle

import (
	"archive/tar"
	"compress/gzip"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
)

// Pack writes a bundle. manifest is the JSON text of a manifest whose artifacts need only their paths: hashes, sizes,
// signerId and signature are filled in. files holds the contents by path. The same input gives the same bytes.
func Pack(w io.Writer, manifest []byte, files map[string][]byte, key ed25519.PrivateKey) error {
	text, err := Sign(manifest, files, key)
	if err != nil {
		return err
	}
	zip := gzip.NewWriter(w)
	archive := tar.NewWriter(zip)
	write := func(path string, content []byte) error {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: path, Size: int64(len(content)), Mode: 0o644, Format: tar.FormatUSTAR}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err := archive.Write(content)
		return err
	}
	if err := write(manifestName, text); err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if err := write(path, files[path]); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return zip.Close()
}

// Sign completes a manifest, as [Pack] does, and returns its text. The result is one that [ParseManifest] accepts.
func Sign(manifest []byte, files map[string][]byte, key ed25519.PrivateKey) ([]byte, error) {
	v, err := decode(manifest)
	if err != nil {
		return nil, err
	}
	members, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%w: it is not an object", ErrManifest)
	}
	for _, artifact := range artifactsOf(members) {
		path, _ := artifact["path"].(string)
		content, ok := files[path]
		if !ok {
			return nil, fmt.Errorf("%w: there is no file %q", ErrArtifact, path)
		}
		sum := sha256.Sum256(content)
		artifact["hash"], artifact["size"] = hex.EncodeToString(sum[:]), len(content)
	}
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("public key of type %T", key.Public())
	}
	members["signerId"] = SignerID(public)
	delete(members, "signature")
	text, err := json.Marshal(members)
	if err != nil {
		return nil, err
	}
	if members["signature"], err = sign(text, key); err != nil {
		return nil, err
	}
	if text, err = json.MarshalIndent(members, "", "  "); err != nil {
		return nil, err
	}
	_, err = ParseManifest(text)
	return text, err
}

// artifactsOf finds the objects that describe files in an undecoded manifest.
func artifactsOf(members map[string]any) []map[string]any {
	var found []map[string]any
	add := func(v any) {
		if a, ok := v.(map[string]any); ok {
			found = append(found, a)
		}
	}
	add(members["wasm"])
	add(members["abi"])
	services, _ := members["services"].([]any)
	for _, s := range services {
		if service, ok := s.(map[string]any); ok {
			add(service["wasm"])
			add(service["abi"])
		}
	}
	migrations, _ := members["migrations"].([]any)
	for _, m := range migrations {
		add(m)
	}
	return found
}
