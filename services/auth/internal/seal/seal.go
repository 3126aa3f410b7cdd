// Package seal keeps records secret at rest: a master key outside the store, a key derived from it for each
// purpose, and AES-256-GCM bound to the place where a record lies.
//
// The master key is 32 random bytes. A record sealed for one place does not open at another, so whoever can write
// the store cannot swap records; he can only destroy them or put older ones back.
package seal

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
)

// KeySize is the size of the master key in bytes.
const KeySize = 32

// The errors of the package; match them with errors.Is.
var (
	ErrWrongMaster = errors.New("the master key is not the one that this store was made with")
	ErrNoMaster    = errors.New("the master key is missing")
	ErrBadMaster   = errors.New("the master key is not usable")
	ErrCorrupt     = errors.New("a sealed record is damaged or does not belong here")
)

// SealedPrefix is what the keys of sealed records in the bucket "system" start with.
const SealedPrefix = "secrets:"

// Where the check value lies that tells a wrong master key from a damaged record.
const (
	bucket   = "system"
	checkKey = "seal:check"
)

// Options say where the master key is.
type Options struct {
	KeyFile string // base64 of 32 bytes; made 0600 when absent and the store is new
	Key     string // the same text itself, instead of a file
}

// Sealer seals and opens records under one master key. It is safe for concurrent use.
type Sealer struct{ aead cipher.AEAD }

// Open returns the sealer of the store in db. It makes a master key only for a store that never had one; for any
// other, a missing or different key is ErrNoMaster or ErrWrongMaster, and nothing is written.
func Open(ctx context.Context, db kv.DB, o Options) (*Sealer, error) {
	var check []byte
	fresh := true
	err := db.View(ctx, func(tx kv.Tx) (err error) {
		for range tx.Scan(bucket, SealedPrefix) {
			fresh = false
		}
		check, err = tx.Get(bucket, checkKey)
		return err
	})
	switch {
	case err == nil:
		fresh = false
	case !errors.Is(err, kv.ErrNotFound):
		return nil, fmt.Errorf("read the check value of the master key: %w", err)
	case !fresh:
		return nil, fmt.Errorf("the check value of the master key is gone, but sealed records exist: %w", ErrCorrupt)
	}
	master, err := o.master(fresh)
	if err != nil {
		return nil, err
	}
	s, err := newSealer(master)
	if err != nil {
		return nil, err
	}
	if fresh {
		sealed, err := s.Seal(place(checkKey), []byte("mero"))
		if err != nil {
			return nil, err
		}
		if err := db.Update(ctx, func(tx kv.Tx) error { return tx.Put(bucket, checkKey, sealed) }); err != nil {
			return nil, fmt.Errorf("store the check value of the master key: %w", err)
		}
		return s, nil
	}
	if _, err := s.Open(place(checkKey), check); err != nil {
		return nil, fmt.Errorf("%w: put the right one into %s (it is kept outside the store and is not part of a backup)", ErrWrongMaster, o.name())
	}
	return s, nil
}

func place(key string) Place { return Place{Bucket: bucket, Key: key, Kind: "check"} }

func (o Options) name() string {
	if o.Key != "" {
		return "secrets.master_key"
	}
	return o.KeyFile
}

// master reads the master key, or makes one when it may.
func (o Options) master(mayMake bool) ([]byte, error) {
	if o.Key != "" {
		return parse(o.Key, "secrets.master_key")
	}
	text, err := readKeyFile(o.KeyFile)
	if !errors.Is(err, os.ErrNotExist) {
		if err != nil {
			return nil, err
		}
		return parse(text, o.KeyFile)
	}
	if !mayMake {
		return nil, fmt.Errorf("%w: %s does not exist; restore it, the secrets of this store cannot be read without", ErrNoMaster, o.KeyFile)
	}
	master := make([]byte, KeySize)
	_, _ = rand.Read(master) // crypto/rand never fails (it crashes the program instead)
	return master, writeKeyFile(o.KeyFile, base64.StdEncoding.EncodeToString(master)+"\n")
}

// refused are the SHA-256 of keys that must never protect anything: the all-zero key, and the counting bytes
// that documentation and test suites use.
var refused = []string{
	"66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925", // 32 zero bytes
	"630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd", // 00 01 02 … 1f
}

func parse(text, name string) ([]byte, error) {
	master, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(text))
	if err != nil || len(master) != KeySize {
		return nil, fmt.Errorf("%w: %s must hold the base64 of %d bytes", ErrBadMaster, name, KeySize)
	}
	sum := sha256.Sum256(master)
	if slices.Contains(refused, hex.EncodeToString(sum[:])) {
		return nil, fmt.Errorf("%w: %s holds a published test key", ErrBadMaster, name)
	}
	return master, nil
}

// maxKeyFile bounds what is read of a key file in bytes.
const maxKeyFile = 4096

func readKeyFile(path string) (text string, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0) //nolint:gosec // the operator's configuration names the file
	if err != nil {
		return "", fmt.Errorf("master key: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("master key: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%w: %s has mode %04o, others may read or change it: chmod 600 it", ErrBadMaster, path, info.Mode().Perm())
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return "", fmt.Errorf("master key: %w", err)
	}
	return string(raw), nil
}

// writeKeyFile makes the file as a whole or not at all, and never overwrites one.
func writeKeyFile(path, text string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".master-*") // 0600
	if err != nil {
		return fmt.Errorf("make the master key: %w", err)
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("make the master key: %w", err)
	}
	if err := os.Link(f.Name(), path); err != nil {
		return fmt.Errorf("make the master key: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("make the master key: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("make the master key: %w", err)
	}
	return nil
}

// version is the first byte of a sealed record: AES-256-GCM under the key for records, 96-bit random nonce.
const version = 1

func newSealer(master []byte) (*Sealer, error) {
	key, err := hkdf.Key(sha256.New, master, nil, "mero-auth record sealing v1", KeySize)
	if err != nil {
		return nil, fmt.Errorf("derive the sealing key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("sealing cipher: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("sealing cipher: %w", err)
	}
	return &Sealer{aead}, nil
}

// Place is where a record lies; it is authenticated with the record.
type Place struct{ Bucket, Key, Kind string }

// additional returns the data that is authenticated beside the record: each part with its length before it, so
// that no two places share a text.
func (p Place) additional() []byte {
	out := []byte{version}
	for _, part := range []string{p.Bucket, p.Key, p.Kind} {
		out = binary.BigEndian.AppendUint32(out, uint32(len(part))) //nolint:gosec // names of our own, a few bytes long
		out = append(out, part...)
	}
	return out
}

// envelope is the stored form.
type envelope struct {
	V      int    `json:"v"`
	Sealed []byte `json:"sealed"` // nonce and ciphertext
}

// Seal returns the stored form of a record for its place.
func (s *Sealer) Seal(p Place, record []byte) ([]byte, error) {
	sealed := s.aead.Seal(nil, nil, record, p.additional()) //nolint:gosec // this AEAD draws a random nonce itself
	out, err := json.Marshal(envelope{V: version, Sealed: sealed})
	if err != nil {
		return nil, fmt.Errorf("seal %s:%s: %w", p.Bucket, p.Key, err)
	}
	return out, nil
}

// Open returns the record that was sealed for the place, or ErrCorrupt.
func (s *Sealer) Open(p Place, stored []byte) ([]byte, error) {
	var e envelope
	if err := json.Unmarshal(stored, &e); err != nil || e.V != version {
		return nil, fmt.Errorf("%s:%s: %w", p.Bucket, p.Key, ErrCorrupt)
	}
	record, err := s.aead.Open(nil, nil, e.Sealed, p.additional())
	if err != nil {
		return nil, fmt.Errorf("%s:%s: %w", p.Bucket, p.Key, ErrCorrupt)
	}
	return record, nil
}
