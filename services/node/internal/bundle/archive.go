// Package bundle reads and writes application bundles (.mpk): gzip-compressed tar archives with a signed manifest.
//
// # What is checked
//
// [Inspect] reads a whole archive once, in constant memory, and believes nothing: numbers and sizes are limited, also
// how far the archive unpacks; every name is a plain relative path that occurs once; there are files and directories
// only. The manifest is signed: Ed25519 over the SHA-256 of its canonical form (RFC 8785), by the key that its
// signerId names. It holds the SHA-256 and the size of every file that counts; other files are not covered by the
// signature and never looked at again. What a bundle is depends on nothing outside it; the package knows no disk and
// no network.
//
// # Making bundles
//
// [Pack] writes a signed bundle; the same input gives the same bytes.
package bundle

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
)

// ErrArchive reports an archive that is damaged or breaks a rule.
var ErrArchive = errors.New("the bundle is not a valid archive")

// ErrTooLarge reports an archive that exceeds a limit.
var ErrTooLarge = errors.New("the bundle is too large")

// ErrArtifact reports a file that is missing or is not what the manifest says.
var ErrArtifact = errors.New("a file of the bundle is not what its manifest says")

// manifestName is the file that describes the others.
const manifestName = "manifest.json"

// Limits bound what an archive may hold. All are needed.
type Limits struct {
	Entries  int   // files and directories
	Unpacked int64 // bytes of all files together
	Manifest int64 // bytes of the manifest
}

// DefaultLimits are enough for every sensible bundle.
var DefaultLimits = Limits{Entries: 1024, Unpacked: 256 << 20, Manifest: 1 << 20}

// An archive may unpack to ratio times its size, once it is larger than ratioFrom bytes.
const (
	ratio     = 100
	ratioFrom = 8 << 20
)

// Inspect reads an archive to its end and returns its manifest if all of it is valid. The error wraps one of the errors
// of this package, or what r returned.
func Inspect(r io.Reader, limits Limits) (Manifest, error) {
	files := map[string]Artifact{}
	var text []byte
	err := walk(r, limits, func(path string, content io.Reader) error {
		sum := sha256.New()
		if path != manifestName {
			n, err := io.Copy(sum, content)
			files[path] = Artifact{path, hexOf(sum), n}
			return err
		}
		var err error
		text, err = io.ReadAll(io.LimitReader(content, limits.Manifest+1))
		if int64(len(text)) > limits.Manifest {
			return fmt.Errorf("%w: a manifest of more than %d bytes", ErrTooLarge, limits.Manifest)
		}
		return err
	})
	if err != nil {
		return Manifest{}, err
	}
	if text == nil {
		return Manifest{}, fmt.Errorf("%w: it has no %s", ErrManifest, manifestName)
	}
	m, err := ParseManifest(text)
	if err != nil {
		return Manifest{}, err
	}
	for _, a := range m.artifacts() {
		switch f, ok := files[a.Path]; {
		case !ok:
			return Manifest{}, fmt.Errorf("%w: %s is missing", ErrArtifact, a.Path)
		case f.Size != a.Size:
			return Manifest{}, fmt.Errorf("%w: %s has %d bytes, not %d", ErrArtifact, a.Path, f.Size, a.Size)
		case f.Hash != a.Hash:
			return Manifest{}, fmt.Errorf("%w: %s has another hash", ErrArtifact, a.Path)
		}
	}
	return m, nil
}

func hexOf(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// Extract reads an archive that [Inspect] accepted once more and hands fn every file that the manifest names, once. fn
// must read it to its end. The content is checked against the manifest again after fn, so fn's result counts only when
// Extract returns nil.
func Extract(r io.Reader, limits Limits, m Manifest, fn func(a Artifact, content io.Reader) error) error {
	wanted := map[string]Artifact{}
	for _, a := range m.artifacts() {
		wanted[a.Path] = *a
	}
	err := walk(r, limits, func(path string, content io.Reader) error {
		a, ok := wanted[path]
		if !ok {
			return nil
		}
		delete(wanted, path)
		sum := sha256.New()
		if err := fn(a, io.TeeReader(content, sum)); err != nil {
			return err
		}
		if hexOf(sum) != a.Hash {
			return fmt.Errorf("%w: %s has another hash", ErrArtifact, path)
		}
		return nil
	})
	if err == nil && len(wanted) > 0 {
		err = fmt.Errorf("%w: %d files are missing", ErrArtifact, len(wanted))
	}
	return err
}

// walk calls fn for every file of an archive, in its order, and reads the archive to its end.
func walk(r io.Reader, limits Limits, fn func(path string, content io.Reader) error) error {
	in := &counter{r: r}
	zip, err := gzip.NewReader(bufio.NewReader(in))
	if err != nil {
		return archiveError(in, err)
	}
	out := &unpacked{r: zip, in: in, limit: limits.Unpacked + int64(limits.Entries+2)*headerRoom}
	archive := tar.NewReader(out)
	seen := map[string]bool{}
	var total int64
	for entries := 0; ; entries++ {
		header, err := archive.Next()
		switch {
		case errors.Is(err, io.EOF):
			return padding(in, out)
		case err != nil:
			return archiveError(in, err)
		case entries == limits.Entries:
			return fmt.Errorf("%w: more than %d entries", ErrTooLarge, limits.Entries)
		}
		path, err := entryPath(header, seen)
		if err != nil {
			return err
		}
		// Summed up from the headers too, as the holes of a sparse file are never unpacked.
		if total += header.Size; header.Size > limits.Unpacked || total > limits.Unpacked {
			return fmt.Errorf("%w: it unpacks to more than %d bytes", ErrTooLarge, limits.Unpacked)
		}
		if path == "" {
			continue
		}
		content := &failing{r: archive}
		if err := fn(path, content); err != nil {
			if content.err != nil {
				return archiveError(in, content.err)
			}
			return err
		}
	}
}

// headerRoom is how much a tar archive may spend on one entry besides its content: header, extended header, padding.
const headerRoom = 8 << 10

// entryPath returns the path of a file, "" for a directory.
func entryPath(h *tar.Header, seen map[string]bool) (string, error) {
	name := h.Name
	if h.Typeflag == tar.TypeDir {
		if name == "./" || name == "." {
			return "", nil
		}
		if n := len(name); n > 1 && name[n-1] == '/' {
			name = name[:n-1]
		}
	}
	path, err := CleanPath(name)
	switch {
	case err != nil:
		return "", fmt.Errorf("%w: %w", ErrArchive, err)
	case h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir:
		return "", fmt.Errorf("%w: %q is neither a file nor a directory", ErrArchive, path)
	case seen[path]:
		return "", fmt.Errorf("%w: %q occurs twice", ErrArchive, path)
	}
	if seen[path] = true; h.Typeflag == tar.TypeDir {
		return "", nil
	}
	return path, nil
}

// padding makes sure that nothing but zeros follows the last entry, and that the compressed stream is sound to its end.
func padding(in *counter, out io.Reader) error {
	buf := make([]byte, 4<<10)
	for {
		n, err := out.Read(buf)
		if slices.ContainsFunc(buf[:n], func(b byte) bool { return b != 0 }) {
			return fmt.Errorf("%w: data after its end", ErrArchive)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return archiveError(in, err)
		}
	}
}

// archiveError tells what the source of the bytes reported from what is wrong with them.
func archiveError(in *counter, err error) error {
	switch {
	case in.err != nil:
		return in.err
	case errors.Is(err, ErrTooLarge):
		return err
	}
	return fmt.Errorf("%w: %w", ErrArchive, err)
}

// counter counts what is read and keeps the error that ended it.
type counter struct {
	r   io.Reader
	n   int64
	err error // not io.EOF
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}

// unpacked limits how far an archive unpacks.
type unpacked struct {
	r     io.Reader
	in    *counter
	n     int64
	limit int64
}

func (u *unpacked) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	u.n += int64(n)
	switch {
	case u.n > u.limit:
		return n, fmt.Errorf("%w: it unpacks to more than %d bytes", ErrTooLarge, u.limit)
	case u.n > ratioFrom && u.n/ratio > u.in.n:
		return n, fmt.Errorf("%w: it unpacks to more than %d times its size", ErrTooLarge, ratio)
	}
	return n, err
}

// failing keeps the error of a reader, so that it can be told from that of who reads.
type failing struct {
	r   io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}
