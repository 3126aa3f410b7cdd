package seal

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/calimero-network/mero-go/services/auth/internal/owner"
)

// What can be wrong with a master key. Errors of OpenMaster name the file and never the key.
var (
	ErrNoMaster  = errors.New("there is no master key")
	ErrExposed   = errors.New("the master key is not safe from other users")
	ErrMalformed = errors.New("a master key is the base64 of 32 random bytes")
	ErrPublished = errors.New("the master key is published or not random")
)

// Source says where the master key is.
type Source struct {
	// Text is the key in standard base64, of the environment. When it is set, File is not read.
	Text string

	// File holds the key in standard base64. It is a regular file, closed to all other users (0600 or 0400).
	File string

	// Generate permits to make File when it is absent. Only for a store that holds nothing sealed: a new key
	// cannot open what another one sealed.
	Generate bool
}

// OpenMaster reads the master key, or makes it when that is permitted and there is none.
func OpenMaster(src Source) (*Master, error) {
	if src.Text != "" {
		m, err := parse([]byte(src.Text))
		if err != nil {
			return nil, fmt.Errorf("master key: %w", err)
		}
		return m, nil
	}
	if src.File == "" {
		return nil, fmt.Errorf("neither a text nor a file is set: %w", ErrNoMaster)
	}
	m, err := readFile(src.File)
	if errors.Is(err, fs.ErrNotExist) && src.Generate {
		if err = generate(src.File); err == nil {
			m, err = readFile(src.File)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("master key file %s: %w (restore it: without it the secrets of the store cannot be read)", src.File, ErrNoMaster)
	}
	if err != nil {
		return nil, fmt.Errorf("master key file %s: %w", src.File, err)
	}
	return m, nil
}

func parse(text []byte) (*Master, error) {
	text = bytes.TrimSpace(text)
	key := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Strict().Decode(key, text)
	if err != nil || n != KeySize || len(text) != base64.StdEncoding.EncodedLen(KeySize) {
		return nil, ErrMalformed // without err, which can quote the key
	}
	if Published(key[:n]) {
		return nil, ErrPublished
	}
	return &Master{key: [KeySize]byte(key[:n])}, nil
}

// maxFile bounds what is read of a file that is no key.
const maxFile = 1 << 10

func readFile(path string) (*Master, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0) //nolint:gosec // the configured file
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%w: it is a symbolic link", ErrExposed)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: it is no regular file (mode %v)", ErrMalformed, info.Mode())
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%w: mode %v, chmod 600 it and consider it known to them", ErrExposed, info.Mode())
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, err
	}
	return parse(text)
}

// generate makes the file with a new key. It never replaces a file: losing a key loses all that it sealed.
func generate(path string) error {
	m := new(Master)
	_, _ = rand.Read(m.key[:]) // never fails
	if err := publish(path, m); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// publish makes the file with a key, whole or not at all; fs.ErrExist when there is one.
func publish(path string, m *Master) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = io.Copy(f, strings.NewReader(base64.StdEncoding.EncodeToString(m.key[:])+"\n"))
	if err := errors.Join(err, owner.Adopt(f), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	return errors.Join(syncDir(dir), syncDir(filepath.Dir(dir)))
}

// syncDir makes the entries of a directory survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the configured directory
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
