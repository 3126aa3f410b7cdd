// Command mero-bundle makes and checks application bundles (.mpk).
//
//	mero-bundle key KEY.json                        make a signing key
//	mero-bundle pack -key KEY.json -out A.mpk DIR   sign DIR/manifest.json and pack it with the files that it names
//	mero-bundle inspect A.mpk                       check a bundle and show what it is
//
// A key file is what mero-sign writes: {"private_key", "public_key", "signer_id"}, the keys in base64url without padding.
package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/calimero-network/mero-go/services/node/internal/bundle"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

var errUsage = errors.New("usage: mero-bundle key KEY.json | pack -key KEY.json -out A.mpk DIR | inspect A.mpk")

// run returns the exit code: 0, 1 for a failure, 2 for a call that means nothing.
func run(args []string, stdout, stderr io.Writer) int {
	err := errUsage
	if len(args) > 0 {
		switch args[0] {
		case "key":
			err = makeKey(args[1:], stdout)
		case "pack":
			err = pack(args[1:], stdout)
		case "inspect":
			err = inspect(args[1:], stdout)
		}
	}
	if err == nil {
		return 0
	}
	_, _ = fmt.Fprintln(stderr, "mero-bundle:", err)
	if errors.Is(err, errUsage) {
		return 2
	}
	return 1
}

type keyFile struct {
	Private string `json:"private_key"` // the seed
	Public  string `json:"public_key"`
	Signer  string `json:"signer_id"`
}

// makeKey writes a new key. It never replaces a file.
func makeKey(args []string, stdout io.Writer) error {
	if len(args) != 1 {
		return errUsage
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	k := keyFile{base64.RawURLEncoding.EncodeToString(private.Seed()), base64.RawURLEncoding.EncodeToString(public), bundle.SignerID(public)}
	text, err := json.MarshalIndent(k, "", "  ") //nolint:gosec // to write the key is what this is for
	if err != nil {
		return err
	}
	f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the caller's
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, k.Signer)
	return err
}

func readKey(path string) (ed25519.PrivateKey, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the caller's
	if err != nil {
		return nil, err
	}
	var k keyFile
	if err := json.Unmarshal(text, &k); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	seed, err := base64.RawURLEncoding.DecodeString(k.Private)
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("%s: private_key is not 32 bytes in base64url", path)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

func pack(args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("pack", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	keyPath, out := flags.String("key", "", ""), flags.String("out", "", "")
	if err := flags.Parse(args); err != nil || *keyPath == "" || *out == "" || flags.NArg() != 1 {
		return errUsage
	}
	key, err := readKey(*keyPath)
	if err != nil {
		return err
	}
	manifest, files, err := readDir(flags.Arg(0))
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	if err := bundle.Pack(&packed, manifest, files, key); err != nil {
		return err
	}
	if err := os.WriteFile(*out, packed.Bytes(), 0o644); err != nil { //nolint:gosec // a bundle is to be published
		return err
	}
	return describe(stdout, packed.Bytes())
}

// readDir reads a manifest and the other files beside and below it. Hidden ones are left out.
func readDir(dir string) (manifest []byte, files map[string][]byte, err error) {
	files = map[string][]byte{}
	root := os.DirFS(dir)
	err = fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		switch hidden := path != "." && filepath.Base(path)[0] == '.'; {
		case err != nil:
			return err
		case hidden && d.IsDir():
			return fs.SkipDir
		case hidden || d.IsDir():
			return nil
		}
		content, err := fs.ReadFile(root, path)
		if path == "manifest.json" {
			manifest = content
		} else {
			files[path] = content
		}
		return err
	})
	if err == nil && manifest == nil {
		err = fmt.Errorf("%s has no manifest.json", dir)
	}
	return manifest, files, err
}

func inspect(args []string, stdout io.Writer) error {
	if len(args) != 1 {
		return errUsage
	}
	content, err := os.ReadFile(args[0]) //nolint:gosec // the caller's
	if err != nil {
		return err
	}
	return describe(stdout, content)
}

func describe(stdout io.Writer, content []byte) error {
	m, err := bundle.Inspect(bytes.NewReader(content), bundle.DefaultLimits)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s %s\nsigned by %s\n", m.Package, m.AppVersion, m.SignerID)
	return err
}
