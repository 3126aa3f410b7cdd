package application

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"

	"github.com/calimero-network/mero-go/pkg/borsh"
	"github.com/calimero-network/mero-go/services/node/internal/bundle"
	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// bundleID returns the id of an application that came as a bundle: the same for all its versions.
func bundleID(pkg, signerID string) (id.ID, error) {
	e := borsh.NewEncoder(nil)
	e.Str(pkg)
	e.Str(signerID)
	return hash(e)
}

// moduleID returns the id of an application that came as a bare module. Each build, and each place that it is installed
// from, is an application of its own.
func moduleID(blob id.ID, size int64, source string, metadata []byte) (id.ID, error) {
	e := borsh.NewEncoder(nil)
	e.Fixed(blob[:])
	e.U64(uint64(size)) //nolint:gosec // sizes are not negative
	e.Str(source)
	e.Bytes(metadata)
	return hash(e)
}

func hash(e *borsh.Encoder) (id.ID, error) {
	b, err := e.Finish()
	return sha256.Sum256(b), err
}

// readABI reads an interface description from a bundle.
func readABI(a bundle.Artifact, content io.Reader) ([]byte, error) {
	if a.Size > bundle.MaxABI {
		return nil, fmt.Errorf("%w: %s has more than %d bytes", ErrTooLarge, a.Path, bundle.MaxABI)
	}
	text, err := io.ReadAll(content)
	if err == nil && !json.Valid(text) {
		err = fmt.Errorf("%w: %s is not JSON", bundle.ErrArtifact, a.Path)
	}
	return text, err
}
