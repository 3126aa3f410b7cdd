package seal

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
)

// A master key is changed in steps, each of which leaves a store that starts:
//
//  1. the new key is on disk as FILE.next
//  2. one transaction seals the secrets under it
//  3. FILE becomes FILE.previous, FILE.next becomes FILE
//
// A start that finds the store sealed under FILE.next goes on with step 3, one that finds it sealed under FILE removes
// what step 1 left. FILE.previous opens the backups that were made before; its owner may move it to them.
const (
	nextSuffix     = ".next"
	previousSuffix = ".previous"
)

// NextFile is the place of the coming master key, while the key in file is being changed.
func NextFile(file string) string { return file + nextSuffix }

// PreviousFile is the place of the master key before the one in file.
func PreviousFile(file string) string { return file + previousSuffix }

// Prepare makes the coming master key: step 1. text is the key in standard base64; "" makes a random one, or takes
// the one that an earlier change has left behind.
func Prepare(file, text string) (*Master, error) {
	next := NextFile(file)
	if text == "" {
		return OpenMaster(Source{File: next, Generate: true})
	}
	m, err := OpenMaster(Source{Text: text})
	if err != nil {
		return nil, err
	}
	if err := Discard(file); err != nil {
		return nil, err
	}
	if err := publish(next, m); err != nil {
		return nil, fmt.Errorf("master key file %s: %w", next, err)
	}
	return m, nil
}

// Promote puts the coming master key in the place of the present one: step 3.
func Promote(file string) error {
	previous := PreviousFile(file)
	err := os.Remove(previous)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = os.Link(file, previous)
	}
	if err == nil {
		err = os.Rename(NextFile(file), file)
	}
	if err == nil {
		err = syncDir(filepath.Dir(file))
	}
	if err != nil {
		return fmt.Errorf("master key file %s: %w", file, err)
	}
	return nil
}

// Discard removes a coming master key that nothing is sealed under.
func Discard(file string) error {
	if err := os.Remove(NextFile(file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("master key file %s: %w", NextFile(file), err)
	}
	return nil
}

// Check names the master key for a purpose without revealing it.
func (m *Master) Check(purpose string) (string, error) {
	check, err := hkdf.Key(sha256.New, m.key[:], nil, "mero-auth seal s1 check "+purpose, checkLength)
	if err != nil {
		return "", fmt.Errorf("derive the check value for %s: %w", purpose, err)
	}
	return base64.RawURLEncoding.EncodeToString(check), nil
}

// MAC returns HMAC-SHA256 under a key derived from the master key for one purpose.
func (m *Master) MAC(purpose string) (hash.Hash, error) {
	key, err := hkdf.Key(sha256.New, m.key[:], nil, "mero-auth mac "+purpose, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("derive the key for %s: %w", purpose, err)
	}
	return hmac.New(sha256.New, key), nil
}
