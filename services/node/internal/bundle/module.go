package bundle

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrModule reports bytes that are no WebAssembly module.
var ErrModule = errors.New("not a WebAssembly module")

// abiSection is the custom section in which the SDK's compiler leaves the description of a module's interface.
const abiSection = "calimero_abi_v1"

// MaxABI is the size of the largest interface description in bytes.
const MaxABI = 1 << 20

// ModuleHeader begins every WebAssembly module of version 1.
var ModuleHeader = []byte("\x00asm\x01\x00\x00\x00")

// GzipHeader begins every bundle.
var GzipHeader = []byte{0x1f, 0x8b}

// ModuleABI reads a WebAssembly module to its end, checks the frame of its sections, and returns the interface
// description in its custom section calimero_abi_v1; nil if it has none, or one that is too large or no JSON. The error
// wraps [ErrModule], or what r returned.
func ModuleABI(r io.Reader) (abi []byte, err error) {
	in := &counter{r: r}
	b := bufio.NewReader(in)
	header := make([]byte, len(ModuleHeader))
	if _, err := io.ReadFull(b, header); err != nil || string(header) != string(ModuleHeader) {
		return nil, moduleError(in, "no header of version 1")
	}
	for {
		kind, err := b.ReadByte()
		if errors.Is(err, io.EOF) {
			return abi, nil
		}
		if err != nil {
			return nil, moduleError(in, "no section")
		}
		size, err := length(b)
		if err != nil {
			return nil, moduleError(in, "a section without a size")
		}
		section := &io.LimitedReader{R: b, N: size}
		if kind == 0 {
			found, err := customSection(section)
			if err != nil {
				return nil, moduleError(in, "a damaged custom section")
			}
			if abi == nil {
				abi = found
			}
		}
		if _, err := io.Copy(io.Discard, section); err != nil || section.N > 0 {
			return nil, moduleError(in, "a section that ends too early")
		}
	}
}

func moduleError(in *counter, what string) error {
	if in.err != nil {
		return in.err
	}
	return fmt.Errorf("%w: %s", ErrModule, what)
}

// customSection returns the content of a section with an interface description.
func customSection(section *io.LimitedReader) ([]byte, error) {
	b := bufio.NewReaderSize(section, 64)
	size, err := length(b)
	if err != nil {
		return nil, err
	}
	if size != int64(len(abiSection)) {
		return nil, nil // another one
	}
	name := make([]byte, size)
	if _, err := io.ReadFull(b, name); err != nil {
		return nil, err
	}
	if string(name) != abiSection {
		return nil, nil
	}
	text, err := io.ReadAll(io.LimitReader(b, MaxABI+1))
	if err != nil || len(text) > MaxABI || !json.Valid(text) {
		return nil, err
	}
	return text, nil
}

// length reads an unsigned LEB128 number of at most 32 bits.
func length(b io.ByteReader) (int64, error) {
	n, err := binary.ReadUvarint(b)
	if err != nil || n > 1<<32-1 {
		return 0, ErrModule
	}
	return int64(n), nil
}
