// Package home is the node's directory: HOME/NODE with config.toml, the database and the blobs.
package home

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/internal/peer"
)

// ErrName reports a node name that is not one plain directory name.
var ErrName = errors.New("a node name is 1 to 64 letters, digits, '-', '_' or '.', and starts with a letter or digit")

// state lists what a node keeps in its directory, which a reset removes. What the configuration places elsewhere
// belongs to the operator and stays.
var state = []string{"data", "blobs", "applications", "auth", "auth.key"}

// Dir is the path of a node's directory.
type Dir string

// Locate returns the directory of a node; it need not exist.
func Locate(home, node string) (Dir, error) {
	if home == "" {
		return "", errors.New("no home directory: give --home or set CALIMERO_HOME")
	}
	if !validName(node) {
		return "", fmt.Errorf("%q: %w", node, ErrName)
	}
	abs, err := filepath.Abs(home)
	if err != nil {
		return "", err
	}
	return Dir(filepath.Join(abs, node)), nil
}

func validName(s string) bool {
	if s == "" || len(s) > 64 || s[0] == '.' || s[0] == '-' || s[0] == '_' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

// Config returns the path of the configuration file.
func (d Dir) Config() string { return d.Path("config.toml") }

// Path resolves a path of the configuration: a relative one is below the node's directory.
func (d Dir) Path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(string(d), p)
}

// Initialized reports whether the node has a configuration file.
func (d Dir) Initialized() (bool, error) {
	_, err := os.Stat(d.Config())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Init makes the directory, gives the settings a new key and writes them as the configuration file, replacing one
// that is there. It returns the peer id.
func (d Dir) Init(settings *config.File) (string, error) {
	key, err := peer.Generate()
	if err != nil {
		return "", err
	}
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return "", fmt.Errorf("public key of type %T", key.Public())
	}
	peerID := peer.ID(public)
	settings.Set("identity.peer_id", peerID)
	settings.Set("identity.keypair", peer.Keypair(key))
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return "", err
	}
	return peerID, settings.Save(d.Config())
}

// Reset removes the node's state, not its configuration. The caller makes sure that no process uses it.
func (d Dir) Reset() error {
	for _, name := range state {
		if err := os.RemoveAll(d.Path(name)); err != nil {
			return err
		}
	}
	return nil
}
