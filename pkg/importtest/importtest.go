// Package importtest lets a test pin which way imports may point.
package importtest

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Module is the prefix of all import paths of this repository.
const Module = "github.com/calimero-network/mero-go/"

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath   string
	Doc          string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Doc,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = moduleRoot(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all = append(all, p)
	}
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatalf("go list -m: %v", err)
	}
	// In a workspace every module is listed; the one of the test's own folder is asked for with GOWORK=off.
	if dir := strings.TrimSpace(string(out)); !strings.Contains(dir, "\n") {
		return dir
	}
	cmd := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}")
	cmd.Env = append(cmd.Environ(), "GOWORK=off")
	if out, err = cmd.Output(); err != nil {
		t.Fatalf("go list -m: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// Order fails the test unless the packages below prefix (a path inside the repository, such as
// "services/auth/internal/") import only packages that stand before them in bottomUp, and are all named there.
func Order(t *testing.T, prefix string, bottomUp []string) {
	t.Helper()
	prefix = Module + prefix
	for _, p := range list(t) {
		name, inside := strings.CutPrefix(p.ImportPath, prefix)
		if !inside {
			continue
		}
		at := slices.Index(bottomUp, name)
		if at < 0 {
			t.Errorf("package %s is not in the import order: add it where it belongs", name)
			continue
		}
		for _, imported := range p.Imports {
			below, ours := strings.CutPrefix(imported, prefix)
			if ours && slices.Index(bottomUp, below) >= at {
				t.Errorf("%s imports %s, which stands above it", name, below)
			}
		}
	}
}

// Only fails the test unless the package imported (a path or a prefix of paths) is imported by nobody but the
// packages in allowed (paths inside the repository), tests included.
func Only(t *testing.T, imported string, allowed ...string) {
	t.Helper()
	for _, p := range list(t) {
		name := strings.TrimPrefix(p.ImportPath, Module)
		if slices.Contains(allowed, name) {
			continue
		}
		for _, i := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if i == imported || strings.HasPrefix(i, imported+"/") {
				t.Errorf("%s imports %s, which only %s may", name, i, strings.Join(allowed, ", "))
			}
		}
	}
}

// Within fails the test unless all imports of this repository start with one of the allowed prefixes (paths
// inside the repository), tests included.
func Within(t *testing.T, allowed ...string) {
	t.Helper()
	for _, p := range list(t) {
		for _, i := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			path, ours := strings.CutPrefix(i, Module)
			if ours && !slices.ContainsFunc(allowed, func(a string) bool { return strings.HasPrefix(path, a) }) {
				t.Errorf("%s imports %s", p.ImportPath, i)
			}
		}
	}
}

// StandardLibraryOnly fails the test if a package of the module imports anything outside the standard library,
// golang.org/x and this module.
func StandardLibraryOnly(t *testing.T) {
	t.Helper()
	for _, p := range list(t) {
		for _, i := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			first, _, _ := strings.Cut(i, "/")
			if strings.Contains(first, ".") && !strings.HasPrefix(i, "golang.org/x/") && !strings.HasPrefix(i, Module+"pkg/") {
				t.Errorf("%s imports %s", p.ImportPath, i)
			}
		}
	}
}

// Explained fails the test if a package has no package comment, or the module none at all.
func Explained(t *testing.T) {
	t.Helper()
	all := list(t)
	for _, p := range all {
		if p.Doc == "" && len(p.Imports) > 0 {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
	if len(all) == 0 {
		t.Error("the module has no packages")
	}
}
