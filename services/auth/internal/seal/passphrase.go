package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/crypto/argon2"

	"github.com/calimero-network/mero-go/pkg/strictjson"
)

// What Unlock can say of a sealed file.
var (
	ErrSealedFile = errors.New("not a sealed file of mero-auth")
	ErrPassphrase = errors.New("wrong passphrase, or the sealed file is damaged")
	ErrWeak       = errors.New("a passphrase has at least 12 characters")
)

// MinPassphrase is the least length of a passphrase in bytes.
const MinPassphrase = 12

// MaxSealedFile is the size of the largest sealed file in bytes.
const MaxSealedFile = 4 << 20

const (
	sealedFormat  = "mero-auth sealed file"
	sealedVersion = 1
	saltSize      = 16
)

// The cost of a new file: the second recommendation of RFC 9106, section 4. Files name theirs, within limits, so
// that a prepared file cannot make us allocate or work at will.
const (
	costTime, maxTime       = 3, 16
	costMemory, maxMemory   = 64 << 10, 512 << 10 // KiB
	costThreads, maxThreads = 4, 16
)

// sealedFile is the JSON text of a sealed file. Everything but the body is authenticated beside it.
//
//	key  = argon2id(passphrase, salt, time, memory_kib, threads), 32 bytes (RFC 9106)
//	body = nonce (12 bytes) and AES-256-GCM of the content
//	with the additional data format, v, purpose, kdf, time, memory_kib, threads, salt: each as text or bytes, preceded
//	by its length in 4 bytes, big-endian
type sealedFile struct {
	Format  string `json:"format"`
	V       int    `json:"v"`
	Purpose string `json:"purpose"`
	KDF     string `json:"kdf"`
	Time    uint32 `json:"time"`
	Memory  uint32 `json:"memory_kib"`
	Threads uint8  `json:"threads"`
	Salt    []byte `json:"salt"`
	Body    []byte `json:"body"`
}

func (f sealedFile) bind() []byte {
	var b []byte
	for _, part := range []string{
		f.Format, strconv.Itoa(f.V), f.Purpose, f.KDF, number(f.Time), number(f.Memory), number(uint32(f.Threads)), string(f.Salt),
	} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part))) //nolint:gosec // short texts
		b = append(b, part...)
	}
	return b
}

func number(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

func (f sealedFile) aead(passphrase []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(argon2.IDKey(passphrase, f.Salt, f.Time, f.Memory, f.Threads, KeySize))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Lock returns the text of a file that holds plain for whoever knows the passphrase. The purpose says what it is,
// in the clear.
func Lock(passphrase []byte, purpose string, plain []byte) ([]byte, error) {
	if len(passphrase) < MinPassphrase {
		return nil, ErrWeak
	}
	f := sealedFile{
		Format: sealedFormat, V: sealedVersion, Purpose: purpose, KDF: "argon2id",
		Time: costTime, Memory: costMemory, Threads: costThreads, Salt: make([]byte, saltSize),
	}
	_, _ = rand.Read(f.Salt) // never fails
	aead, err := f.aead(passphrase)
	if err != nil {
		return nil, fmt.Errorf("seal a file: %w", err)
	}
	f.Body = aead.Seal(nil, nil, plain, f.bind()) //nolint:gosec // the AEAD draws the nonce and prepends it
	text, err := json.MarshalIndent(f, "", "  ")
	return append(text, '\n'), err
}

// Unlock returns what [Lock] was given. Errors wrap ErrSealedFile or ErrPassphrase.
func Unlock(passphrase []byte, purpose string, text []byte) ([]byte, error) {
	var f sealedFile
	if len(text) > MaxSealedFile {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrSealedFile, MaxSealedFile)
	}
	if err := strictjson.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSealedFile, err)
	}
	switch {
	case f.Format != sealedFormat:
		return nil, ErrSealedFile
	case f.V != sealedVersion:
		return nil, fmt.Errorf("%w: it has version %d, this program knows %d", ErrSealedFile, f.V, sealedVersion)
	case f.Purpose != purpose:
		return nil, fmt.Errorf("%w: it holds %q, want %q", ErrSealedFile, f.Purpose, purpose)
	case f.KDF != "argon2id", f.Time < 1 || f.Time > maxTime, f.Memory < 8<<10 || f.Memory > maxMemory,
		f.Threads < 1 || f.Threads > maxThreads, len(f.Salt) < 8 || len(f.Salt) > 64:
		return nil, fmt.Errorf("%w: parameters of the passphrase are out of bounds", ErrSealedFile)
	}
	aead, err := f.aead(passphrase)
	if err != nil {
		return nil, fmt.Errorf("open a sealed file: %w", err)
	}
	plain, err := aead.Open(nil, nil, f.Body, f.bind())
	if err != nil {
		return nil, ErrPassphrase
	}
	return plain, nil
}
