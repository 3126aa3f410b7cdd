package seal_test

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/seal"
)

// sealsAlike reports whether two masters are the same key.
func sealsAlike(t *testing.T, a, b *seal.Master) bool {
	t.Helper()
	sa, err := a.Sealer("test")
	if err != nil {
		t.Fatal(err)
	}
	sb, err := b.Sealer("test")
	if err != nil {
		t.Fatal(err)
	}
	got, err := sb.Open(place, sa.Seal(place, []byte("x")))
	return err == nil && string(got) == "x"
}

func TestOpenMaster_Text(t *testing.T) {
	for _, spelling := range []string{text(1), text(1) + "\n", " " + text(1) + "\r\n"} {
		m, err := seal.OpenMaster(seal.Source{Text: spelling, File: "/is/not/read"})
		if err != nil {
			t.Fatalf("OpenMaster(%q) = %v", spelling, err)
		}
		if !sealsAlike(t, m, master(t, 1)) || sealsAlike(t, m, master(t, 2)) {
			t.Errorf("OpenMaster(%q) is another key", spelling)
		}
	}
}

func TestOpenMaster_MalformedTextRefused(t *testing.T) {
	good := text(1)
	raw, err := base64.StdEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"blank":             "\n",
		"too short":         base64.StdEncoding.EncodeToString(raw[:31]),
		"too long":          base64.StdEncoding.EncodeToString(append(raw, 1)),
		"without padding":   strings.TrimRight(good, "="),
		"dirty padding":     good[:42] + "9=",
		"hexadecimal":       hex.EncodeToString(raw),
		"raw bytes":         string(raw),
		"broken in two":     good[:20] + "\n" + good[20:],
		"two keys":          good + good,
		"a passphrase":      "correct horse battery staple",
		"other alphabet":    "_-" + good[2:],
		"with a name":       "master=" + good,
		"quoted":            `"` + good + `"`,
		"null byte at end":  good + "\x00",
		"byte order mark":   "\ufeff" + good,
		"44 characters off": strings.Repeat("=", 44),
	} {
		_, err := seal.OpenMaster(seal.Source{Text: bad})
		if !errors.Is(err, seal.ErrMalformed) {
			t.Errorf("%s: OpenMaster = %v, want ErrMalformed", name, err)
		}
		if err != nil && len(bad) > 8 && strings.Contains(err.Error(), bad[4:8]) {
			t.Errorf("%s: the error quotes the key: %v", name, err)
		}
	}
}

// TestOpenMaster_PublishedKeysRefused uses the keys of the published vectors, which anybody can look up.
func TestOpenMaster_PublishedKeysRefused(t *testing.T) {
	for _, key := range []string{
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		"202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f",
		"808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
		"d2cbcb27cb3543f2fa2f88f9a2c2a74e10d3d1350cb5ddc38197da5dbaece1f8",
		"44485a10e6c87606ae685a87e4535df6a1a53b5fe2215d49ad187246a282efec",
		"9f8362f87a484a954e6e740c5b4c0e84229139a20aa8ab56ff66586f6a7d29c5",
		"427d24e8b05177356e44c87e24d84a921de90864330ae78cda52e7e3b28abff8",
		"1fe438cf259c0a03178d129ca8c08a776a8bff80f13a2fcf1afffd9d2d5aa34a",
		"fc90654acdd7a28799f97559c6589eda6a5687f6dd40b8e2169832e21de4596d",
		"412d1983cdeb6b43f2a171c879341e1880e2dca3111d55321d7ca333a5fdb6d5",
		"c1c01cb7bc965bce768a6019e094dd794c3d934244f1329404e9897cd1877a82",
		"62ba4aa0796919e7bbcaf1b3beebd6476363f5097819ab8baede079803e464f2",
		"d91e470c68f0c95bf6d651f0d2e6ebaf3d08cd103a446b96f11ed440cacc10f7",
		"35e0ea6d6aee8ba0e51de90a629ce1d3fe7855a0a168968177705d560052e0d4",
		"ebdbf0f4654b7d2e9e36728f6411ba11bd341194bc678d2a96ed119bd8f19c39",
		strings.Repeat("00", 32),
		strings.Repeat("ff", 32),
		strings.Repeat("5a", 32),
		strings.Repeat("0123456789abcdef", 4),
		hex.EncodeToString([]byte("passwordpasswordpasswordpassword")),
	} {
		raw, err := hex.DecodeString(key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := seal.OpenMaster(seal.Source{Text: base64.StdEncoding.EncodeToString(raw)}); !errors.Is(err, seal.ErrPublished) {
			t.Errorf("OpenMaster with %s = %v, want ErrPublished", key, err)
		}
	}
}

func TestOpenMaster_GeneratesOnlyWhenPermitted(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0)) // modes must not depend on it
	dir := filepath.Join(t.TempDir(), "auth.key")
	path := filepath.Join(dir, "master.key")
	_, err := seal.OpenMaster(seal.Source{File: path})
	if !errors.Is(err, seal.ErrNoMaster) || !strings.Contains(err.Error(), path) {
		t.Errorf("OpenMaster without a file = %v, want ErrNoMaster with the path", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the refusal left something behind: %v", err)
	}
	first, err := seal.OpenMaster(seal.Source{File: path, Generate: true})
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]fs.FileMode{path: 0o600, dir: 0o700} {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm() != want {
			t.Errorf("mode of %s = %v, %v, want %v", p, info.Mode(), err, want)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v, %v, want the key alone", entries, err)
	}
	for _, generate := range []bool{false, true} { // an existing key is never replaced
		again, err := seal.OpenMaster(seal.Source{File: path, Generate: generate})
		if err != nil || !sealsAlike(t, first, again) {
			t.Errorf("OpenMaster again (Generate %t) = %v, or another key", generate, err)
		}
	}
	other, err := seal.OpenMaster(seal.Source{File: filepath.Join(t.TempDir(), "k"), Generate: true})
	if err != nil || sealsAlike(t, first, other) {
		t.Errorf("two generated keys are equal (%v)", err)
	}
}

func TestOpenMaster_NoSource(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, err := seal.OpenMaster(seal.Source{Generate: true}); !errors.Is(err, seal.ErrNoMaster) {
		t.Errorf("OpenMaster without a source = %v, want ErrNoMaster", err)
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) > 0 {
		t.Errorf("it left %v, %v", entries, err)
	}
}

func TestOpenMaster_GenerateReplacesNothing(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"empty": "", "cut": text(1)[:20], "text": "not a key"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := seal.OpenMaster(seal.Source{File: path, Generate: true}); !errors.Is(err, seal.ErrMalformed) {
			t.Errorf("%s: OpenMaster = %v, want ErrMalformed", name, err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("%s: the file is now %q, %v", name, got, err)
		}
	}
}

func TestOpenMaster_ExposedFileRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "master.key")
	if err := os.WriteFile(path, []byte(text(1)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[fs.FileMode]error{
		0o600: nil, 0o400: nil,
		0o640: seal.ErrExposed, 0o604: seal.ErrExposed, 0o620: seal.ErrExposed, 0o602: seal.ErrExposed, 0o644: seal.ErrExposed, 0o666: seal.ErrExposed,
	} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := seal.OpenMaster(seal.Source{File: path, Generate: true})
		if !errors.Is(err, want) || want != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("OpenMaster with mode %v = %v, want %v", mode, err, want)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("the mode was changed to %v, %v", info.Mode(), err)
		}
	}
}

func TestOpenMaster_NoRegularFileRefused(t *testing.T) {
	dir := t.TempDir()
	target, link, pipe := filepath.Join(dir, "target"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := errors.Join(
		os.WriteFile(target, []byte(text(1)), 0o600), os.Symlink(target, link),
		syscall.Mkfifo(pipe, 0o600), // opening it must not wait for a writer
	); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{link: seal.ErrExposed, pipe: seal.ErrMalformed, dir: seal.ErrMalformed} {
		if _, err := seal.OpenMaster(seal.Source{File: path, Generate: true}); !errors.Is(err, want) {
			t.Errorf("OpenMaster(%s) = %v, want %v", path, err, want)
		}
	}
}
