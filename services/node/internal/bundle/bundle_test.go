package bundle_test

import (
	"archive/tar"
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/calimero-network/mero-go/services/node/internal/bundle"
)

func inspect(b []byte) (bundle.Manifest, error) {
	return bundle.Inspect(bytes.NewReader(b), bundle.DefaultLimits)
}

func TestPackInspectExtract(t *testing.T) {
	packed := pack(t, manifest, files())
	if again := pack(t, manifest, files()); !bytes.Equal(packed, again) {
		t.Error("the same input gives other bytes")
	}
	m, err := inspect(packed)
	if err != nil {
		t.Fatal(err)
	}
	if m.Package != "com.example.app" || m.AppVersion != "1.2.3" || m.SignerID != bundle.SignerID(key.Public().(ed25519.PublicKey)) || m.Wasm.Size != 8 {
		t.Errorf("manifest: %+v", m)
	}
	if got, err := m.Description(); err != nil ||
		string(got) != `{"package":"com.example.app","version":"1.2.3","name":"App","tags":["a"],"links":{"docs":"https://example.com"}}` {
		t.Errorf("Description = %s, %v", got, err)
	}
	got := map[string][]byte{}
	err = bundle.Extract(bytes.NewReader(packed), bundle.DefaultLimits, m, func(a bundle.Artifact, content io.Reader) error {
		text, err := io.ReadAll(content)
		got[a.Path] = text
		return err
	})
	if err != nil || !maps.EqualFunc(got, files(), bytes.Equal) {
		t.Errorf("Extract = %q, %v", got, err)
	}
}

// Files in any order, "./" in front, directories and files that nobody mentions: what tar makes.
func TestInspect_AcceptsWhatTarMakes(t *testing.T) {
	entries := []entry{
		{tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755}, ""},
		file("./._app.wasm", "AppleDouble"),
		file("./abi.json", `{}`), file("./app.wasm", string(module)),
		{tar.Header{Typeflag: tar.TypeDir, Name: "./migrations/", Mode: 0o755}, ""},
		file("./migrations/1.wasm", "any"),
		file("./manifest.json", string(sign(t, func(map[string]any) {}))),
	}
	if _, err := inspect(archive(t, entries...)); err != nil {
		t.Error(err)
	}
}

func TestSignerID(t *testing.T) {
	// The example of the did:key method: the key of did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK.
	public := []byte{
		0x2e, 0x6f, 0xcc, 0xe3, 0x67, 0x01, 0xdc, 0x79, 0x14, 0x88, 0xe0, 0xd0, 0xb1, 0x74, 0x5c, 0xc1,
		0xe3, 0x3a, 0x4c, 0x1c, 0x9f, 0xcc, 0x41, 0xc6, 0x3b, 0xd3, 0x43, 0xdb, 0xbe, 0x09, 0x70, 0xe6,
	}
	if got, want := bundle.SignerID(public), "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestInspect_FlippedByteOfTheManifest(t *testing.T) {
	text := sign(t, func(map[string]any) {})
	for i := range text {
		flipped := bytes.Clone(text)
		flipped[i] ^= 1
		if _, err := bundle.ParseManifest(flipped); err == nil {
			t.Errorf("byte %d may be %q instead of %q", i, flipped[i], text[i])
		}
	}
}

func TestParseManifest_Refuses(t *testing.T) {
	set := func(path string, v any) func(map[string]any) {
		return func(m map[string]any) {
			at := m
			parts := strings.Split(path, ".")
			for _, p := range parts[:len(parts)-1] {
				at = at[p].(map[string]any)
			}
			if at[parts[len(parts)-1]] = v; v == nil {
				delete(at, parts[len(parts)-1])
			}
		}
	}
	artifact := func(path string) map[string]any {
		return map[string]any{"path": path, "hash": strings.Repeat("0", 64), "size": 1}
	}
	many := make([]any, 300)
	for i := range many {
		many[i] = artifact(fmt.Sprintf("m/%d", i))
	}
	for name, edit := range map[string]func(map[string]any){
		"no package":                  set("package", nil),
		"package with a slash":        set("package", "a/b"),
		"package of dots":             set("package", ".."),
		"package not ASCII":           set("package", "é"),
		"long package":                set("package", strings.Repeat("a", 129)),
		"no version":                  set("appVersion", nil),
		"version with a slash":        set("appVersion", "1/2"),
		"version with a control byte": set("appVersion", "1\n"),
		"no runtime version":          set("minRuntimeVersion", nil),
		"odd runtime version":         set("minRuntimeVersion", "new"),
		"no wasm":                     set("wasm", nil),
		"wasm without a hash":         set("wasm.hash", nil),
		"hash not hexadecimal":        set("wasm.hash", strings.Repeat("x", 64)),
		"short hash":                  set("wasm.hash", "00"),
		"negative size":               set("wasm.size", -1),
		"fraction of a byte":          set("wasm.size", 1.5),
		"size as text":                set("wasm.size", "8"),
		"path upwards":                set("wasm.path", "../app.wasm"),
		"path upwards inside":         set("wasm.path", "a/../app.wasm"),
		"absolute path":               set("wasm.path", "/app.wasm"),
		"path with NUL":               set("wasm.path", "app.wasm\x00.txt"),
		"path with backslash":         set("wasm.path", `a\app.wasm`),
		"path with drive":             set("wasm.path", "C:app.wasm"),
		"empty path":                  set("wasm.path", ""),
		"path of dots":                set("wasm.path", "."),
		"path with empty segment":     set("wasm.path", "a//b"),
		"path with slash at the end":  set("wasm.path", "a/"),
		"the manifest as artifact":    set("wasm.path", "manifest.json"),
		"one file with two hashes":    set("abi.path", "app.wasm"),
		"metadata no object":          set("metadata", []any{}),
		"links no object":             set("links", "x"),
		"too many migrations":         set("migrations", many),
		"service without wasm":        set("services", []any{map[string]any{"name": "a"}}),
		"service without name":        set("services", []any{map[string]any{"wasm": artifact("a")}}),
		"two services of one name": set("services", []any{
			map[string]any{"name": "a", "wasm": artifact("a")}, map[string]any{"name": "a", "wasm": artifact("b")},
		}),
	} {
		if _, err := bundle.ParseManifest(sign(t, edit)); !errors.Is(err, bundle.ErrManifest) {
			t.Errorf("%s: %v, want ErrManifest", name, err)
		}
	}
}

func TestParseManifest_ServicesReplaceTheModule(t *testing.T) {
	m, err := bundle.ParseManifest(sign(t, func(m map[string]any) {
		m["services"] = []any{map[string]any{"name": "a", "wasm": m["wasm"], "abi": m["abi"]}}
		m["wasm"] = map[string]any{"path": "absent.wasm", "hash": nil, "size": 0}
	}))
	if err != nil || m.Wasm != nil || m.ABI != nil || len(m.Services) != 1 || m.Services[0].Wasm.Path != "app.wasm" {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestParseManifest_SignatureAttacks(t *testing.T) {
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize))
	good := sign(t, func(map[string]any) {})
	change := func(edit func(members, signature map[string]any)) []byte {
		var members map[string]any
		if err := json.Unmarshal(good, &members); err != nil {
			t.Fatal(err)
		}
		s, _ := members["signature"].(map[string]any)
		edit(members, s)
		text, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	otherSigned, err := bundle.Sign([]byte(manifest), files(), other)
	if err != nil {
		t.Fatal(err)
	}
	var foreign struct {
		SignerID  string         `json:"signerId"`
		Signature map[string]any `json:"signature"`
	}
	if err := json.Unmarshal(otherSigned, &foreign); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"no signature":              change(func(m, _ map[string]any) { delete(m, "signature") }),
		"signature null":            change(func(m, _ map[string]any) { m["signature"] = nil }),
		"no signer":                 sign(t, func(m map[string]any) { delete(m, "signerId") }),
		"algorithm none":            change(func(_, s map[string]any) { s["algorithm"] = "none" }),
		"algorithm in capitals":     change(func(_, s map[string]any) { s["algorithm"] = "ED25519" }),
		"key of another":            change(func(_, s map[string]any) { s["publicKey"] = foreign.Signature["publicKey"] }),
		"signature of another":      change(func(_, s map[string]any) { s["signature"] = foreign.Signature["signature"] }),
		"claims to be another":      sign(t, func(m map[string]any) { m["signerId"] = foreign.SignerID }),
		"another signs for the key": change(func(m, _ map[string]any) { m["signature"] = foreign.Signature }),
		"padded base64":             change(func(_, s map[string]any) { s["signature"] = s["signature"].(string) + "==" }),
		"a key of 31 bytes":         change(func(_, s map[string]any) { s["publicKey"] = s["publicKey"].(string)[:42] }),
		"empty signature":           change(func(_, s map[string]any) { s["signature"] = "" }),
		"a member added":            change(func(m, _ map[string]any) { m["new"] = 1 }),
		"a version changed":         change(func(m, _ map[string]any) { m["appVersion"] = "9.9.9" }),
	} {
		if _, err := bundle.ParseManifest(text); !errors.Is(err, bundle.ErrSignature) {
			t.Errorf("%s: %v, want ErrSignature", name, err)
		}
	}
	// Not signed, and so without effect: the members whose names start with an underscore.
	m, err := bundle.ParseManifest(change(func(m, _ map[string]any) { m["_package"] = "com.evil" }))
	if err != nil || m.Package != "com.example.app" {
		t.Errorf("an unsigned member: %+v, %v", m, err)
	}
	twice := bytes.Replace(good, []byte(`"appVersion":"1.2.3"`), []byte(`"appVersion":"1.2.3","appversion":"9.9.9"`), 1)
	if _, err := bundle.ParseManifest(twice); !errors.Is(err, bundle.ErrManifest) {
		t.Errorf("two spellings of one member: %v", err)
	}
}

func TestInspect_ArchiveAttacks(t *testing.T) {
	link := func(kind byte) entry {
		return entry{tar.Header{Typeflag: kind, Name: "link", Linkname: "/etc/passwd", Mode: 0o644}, ""}
	}
	good := func() []entry { return signedFiles(t) }
	without := func(path string) (kept []entry) {
		for _, e := range good() {
			if e.Name != path {
				kept = append(kept, e)
			}
		}
		return kept
	}
	whole := pack(t, manifest, files())
	var raw bytes.Buffer
	w := tar.NewWriter(&raw)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		archive []byte
		want    error
	}{
		{"empty", nil, bundle.ErrArchive},
		{"no gzip", []byte("PK\x03\x04"), bundle.ErrArchive},
		{"gzip without tar", zip(t, []byte("hello")), bundle.ErrArchive},
		{"cut short", whole[:len(whole)-9], bundle.ErrArchive},
		{"checksum of gzip", append(bytes.Clone(whole[:len(whole)-8]), 0, 0, 0, 0, 0, 0, 0, 0), bundle.ErrArchive},
		{"bytes after gzip", append(bytes.Clone(whole), "tail"...), bundle.ErrArchive},
		{"a second archive behind the first", append(bytes.Clone(whole), archive(t, file("manifest.json", "{}"))...), bundle.ErrArchive},
		{"no manifest", archive(t, without("manifest.json")...), bundle.ErrManifest},
		{"manifest in a folder", archive(t, append(without("manifest.json"), file("a/manifest.json", "{}"))...), bundle.ErrManifest},
		{"two manifests", archive(t, append(good(), file("./manifest.json", "{}"))...), bundle.ErrArchive},
		{"a file twice", archive(t, append(good(), file("app.wasm", "evil"))...), bundle.ErrArchive},
		{"a file and a folder of one name", archive(t, append(good(), entry{tar.Header{Typeflag: tar.TypeDir, Name: "app.wasm/"}, ""})...), bundle.ErrArchive},
		{"upwards", archive(t, append(good(), file("../evil", "x"))...), bundle.ErrArchive},
		{"upwards inside", archive(t, append(good(), file("a/../../evil", "x"))...), bundle.ErrArchive},
		{"absolute", archive(t, append(good(), file("/etc/cron.d/evil", "x"))...), bundle.ErrArchive},
		{"backslash", archive(t, append(good(), file(`..\evil`, "x"))...), bundle.ErrArchive},
		{"symbolic link", archive(t, append(good(), link(tar.TypeSymlink))...), bundle.ErrArchive},
		{"hard link", archive(t, append(good(), link(tar.TypeLink))...), bundle.ErrArchive},
		{"device", archive(t, append(good(), link(tar.TypeChar))...), bundle.ErrArchive},
		{"pipe", archive(t, append(good(), link(tar.TypeFifo))...), bundle.ErrArchive},
		{"a module that is missing", archive(t, without("app.wasm")...), bundle.ErrArtifact},
		{"a migration that is missing", archive(t, without("migrations/1.wasm")...), bundle.ErrArtifact},
		{"another module of the same size", archive(t, append(without("app.wasm"), file("app.wasm", "evilevil"))...), bundle.ErrArtifact},
		{"a longer module", archive(t, append(without("app.wasm"), file("app.wasm", string(module)+"x"))...), bundle.ErrArtifact},
		{"another interface description", archive(t, append(without("abi.json"), file("abi.json", "[]"))...), bundle.ErrArtifact},
		{"sparse", sparse(t, 1<<60), bundle.ErrTooLarge},
		{"sparse files that add up", sparse(t, bundle.DefaultLimits.Unpacked, bundle.DefaultLimits.Unpacked), bundle.ErrTooLarge},
	} {
		if _, err := inspect(tt.archive); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// sparse makes an archive of files that are all hole: a few bytes that claim to be of any size.
func sparse(t *testing.T, sizes ...int64) []byte {
	t.Helper()
	var out bytes.Buffer
	for i, size := range sizes {
		record := func(name, value string) string {
			text := " " + name + "=" + value + "\n"
			n := len(text) + 2
			if n >= 100 {
				n++
			}
			return strconv.Itoa(n) + text
		}
		pax := record("GNU.sparse.major", "0") + record("GNU.sparse.minor", "1") + record("GNU.sparse.name", fmt.Sprintf("hole%d", i)) +
			record("GNU.sparse.size", strconv.FormatInt(size, 10)) + record("GNU.sparse.numblocks", "1") + record("GNU.sparse.map", fmt.Sprintf("%d,0", size))
		out.Write(header(t, 'x', "PaxHeader", int64(len(pax))))
		out.WriteString(pax)
		out.Write(make([]byte, -len(pax)&511))
		out.Write(header(t, '0', "hole", 0))
	}
	out.Write(make([]byte, 1024))
	return zip(t, out.Bytes())
}

// header makes one block of a tar archive.
func header(t *testing.T, kind byte, name string, size int64) []byte {
	t.Helper()
	b := make([]byte, 512)
	copy(b, name)
	copy(b[100:], "0000644\x000000000\x000000000\x00")
	copy(b[124:], fmt.Sprintf("%011o\x0000000000000\x00        ", size))
	b[156] = kind
	copy(b[257:], "ustar\x0000")
	var sum int
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

func TestInspect_Limits(t *testing.T) {
	limits := bundle.Limits{Entries: 4, Unpacked: 1 << 20, Manifest: 4 << 10}
	many := make([]entry, 5)
	for i := range many {
		many[i] = file(strconv.Itoa(i), "")
	}
	bomb := make([]entry, 5)
	for i := range bomb {
		bomb[i] = file(strconv.Itoa(i), strings.Repeat("\x00", 2<<20))
	}
	for name, b := range map[string][]byte{
		"entries":  archive(t, many...),
		"size":     archive(t, file("a", strings.Repeat("x", 1<<20+1))),
		"manifest": archive(t, file("manifest.json", strings.Repeat(" ", 5<<10))),
	} {
		if _, err := bundle.Inspect(bytes.NewReader(b), limits); !errors.Is(err, bundle.ErrTooLarge) {
			t.Errorf("%s: %v, want ErrTooLarge", name, err)
		}
	}
	if _, err := inspect(archive(t, bomb...)); !errors.Is(err, bundle.ErrTooLarge) || !strings.Contains(err.Error(), "times its size") {
		t.Errorf("an archive that unpacks a thousandfold: %v", err)
	}
	if _, err := bundle.Inspect(bytes.NewReader(archive(t, signedFiles(t)...)), limits); err != nil {
		t.Errorf("at the limit: %v", err)
	}
}

func TestInspect_PassesOnWhatTheReaderReports(t *testing.T) {
	broken := errors.New("the disk is gone")
	whole := pack(t, manifest, files())
	for n := range whole {
		_, err := inspectReader(io.MultiReader(bytes.NewReader(whole[:n]), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
	if _, err := inspectReader(iotest.OneByteReader(bytes.NewReader(whole))); err != nil {
		t.Errorf("byte by byte: %v", err)
	}
}

func inspectReader(r io.Reader) (bundle.Manifest, error) {
	return bundle.Inspect(r, bundle.DefaultLimits)
}

func TestExtract_ChecksAgain(t *testing.T) {
	m, err := inspect(archive(t, signedFiles(t)...))
	if err != nil {
		t.Fatal(err)
	}
	read := func(_ bundle.Artifact, content io.Reader) error { _, err := io.Copy(io.Discard, content); return err }
	var other, fewer []entry
	for _, e := range signedFiles(t) {
		if e.Name == "app.wasm" {
			other = append(other, file("app.wasm", "evilevil"))
			continue
		}
		other, fewer = append(other, e), append(fewer, e)
	}
	for name, entries := range map[string][]entry{"changed": other, "missing": fewer} {
		if err := bundle.Extract(bytes.NewReader(archive(t, entries...)), bundle.DefaultLimits, m, read); !errors.Is(err, bundle.ErrArtifact) {
			t.Errorf("%s: %v, want ErrArtifact", name, err)
		}
	}
	refusal := errors.New("no")
	if err := bundle.Extract(bytes.NewReader(pack(t, manifest, files())), bundle.DefaultLimits, m, func(bundle.Artifact, io.Reader) error { return refusal }); !errors.Is(err, refusal) {
		t.Errorf("an error of the function: %v", err)
	}
}

func TestRunsOn(t *testing.T) {
	runtime, err := bundle.ParseVersion("0.11.0")
	if err != nil {
		t.Fatal(err)
	}
	for least, ok := range map[string]bool{"0.1.0": true, "0.11.0": true, "0.11.0-rc.1": true, "0.11.1": false, "1.0.0": false, "1.0.0-rc.1": false} {
		m := bundle.Manifest{MinRuntimeVersion: least}
		if err := m.RunsOn(runtime); (err == nil) != ok || err != nil && !errors.Is(err, bundle.ErrRuntime) {
			t.Errorf("%s: %v", least, err)
		}
	}
}

func TestPack_RefusesWhatNobodyWouldAccept(t *testing.T) {
	for name, text := range map[string]string{
		"no object": `[]`, "no JSON": `{`, "no package": `{"appVersion":"1.0.0","minRuntimeVersion":"0.1.0","wasm":{"path":"app.wasm"}}`,
		"a file that is not there": `{"package":"a","appVersion":"1.0.0","minRuntimeVersion":"0.1.0","wasm":{"path":"other.wasm"}}`,
	} {
		if err := bundle.Pack(io.Discard, []byte(text), files(), key); err == nil {
			t.Errorf("%s: packed", name)
		}
	}
}

func FuzzInspect(f *testing.F) {
	f.Add(pack(f, manifest, files()))
	f.Add(archive(f, file("manifest.json", "{}")))
	f.Add(archive(f, file("../x", "")))
	f.Add(zip(f, []byte("x")))
	limits := bundle.Limits{Entries: 16, Unpacked: 1 << 16, Manifest: 1 << 12}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := bundle.Inspect(bytes.NewReader(b), limits)
		if err != nil {
			return
		}
		if _, err := m.Description(); err != nil {
			t.Errorf("no description: %v", err)
		}
		err = bundle.Extract(bytes.NewReader(b), limits, m, func(a bundle.Artifact, content io.Reader) error {
			n, err := io.Copy(io.Discard, content)
			if n != a.Size {
				t.Errorf("%s has %d bytes, not %d", a.Path, n, a.Size)
			}
			return err
		})
		if err != nil {
			t.Errorf("inspected and not extracted: %v", err)
		}
	})
}

// FuzzManifest signs whatever it is given, so that the checks behind the signature see it.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(manifest))
	f.Add([]byte(`{"wasm":{"path":"../x","hash":"","size":-1}}`))
	f.Add([]byte(`{"services":[{"name":"a","wasm":{"path":"app.wasm"}}],"package":"a","appVersion":"1","minRuntimeVersion":"1.0.0"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		signed, err := bundle.Sign(text, files(), key)
		if err != nil {
			return
		}
		m, err := bundle.ParseManifest(signed)
		if err != nil {
			t.Fatalf("Sign accepts what ParseManifest refuses: %v", err)
		}
		if _, err := bundle.ParseManifest(bytes.Replace(signed, []byte(m.SignerID), []byte("did:key:z6Mk"), 1)); err == nil {
			t.Error("another signer passes")
		}
	})
}

func BenchmarkInspect(b *testing.B) {
	all := files()
	all["app.wasm"] = append(bytes.Clone(module), bytes.Repeat([]byte("0123456789abcdef\x00\x01\x02"), 50_000)...)
	packed := pack(b, manifest, all)
	b.SetBytes(int64(len(packed)))
	for b.Loop() {
		if _, err := inspect(packed); err != nil {
			b.Fatal(err)
		}
	}
}
