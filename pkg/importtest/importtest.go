// Package importtest lets a test pin which way imports may point.
//
// It reads the sources itself instead of asking `go list`: so it sees the files of every build tag at once, and the
// cache of test results knows what the rules were judged by.
package importtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Module is the prefix of all import paths of this repository.
const Module = "github.com/calimero-network/mero-go/"

// unit is a package as its files are written, those behind build tags included.
type unit struct {
	path      string // import path
	explained bool   // it has a package comment
	imports   map[string]bool
	tests     map[string]bool // what only its tests import
}

// all returns every import, those of the tests included.
func (u *unit) all() []string {
	both := maps.Clone(u.imports)
	maps.Copy(both, u.tests)
	return slices.Sorted(maps.Keys(both))
}

// list reads the module that the test belongs to.
func list(t *testing.T) []*unit {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for !isFile(filepath.Join(dir, "go.mod")) {
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the directory of the test")
		}
		dir = parent
	}
	units, err := read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return units
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// read returns the packages of the module at root, in the order of their paths.
func read(root string) ([]*unit, error) {
	module, err := moduleName(filepath.Join(root, "go.mod"))
	if err != nil {
		return nil, err
	}
	units := map[string]*unit{}
	err = filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return enter(root, name)
		case !strings.HasSuffix(name, ".go"):
			return nil
		}
		inside, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		where := path.Join(module, filepath.ToSlash(inside))
		if units[where] == nil {
			units[where] = &unit{path: where, imports: map[string]bool{}, tests: map[string]bool{}}
		}
		return units[where].add(name)
	})
	if err != nil {
		return nil, err
	}
	var out []*unit
	for _, where := range slices.Sorted(maps.Keys(units)) {
		out = append(out, units[where])
	}
	return out, nil
}

// enter skips the directories that belong to no package of the module, as the go command does.
func enter(root, dir string) error {
	base := filepath.Base(dir)
	hidden := strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" || base == "vendor" || base == "node_modules"
	if dir != root && (hidden || isFile(filepath.Join(dir, "go.mod"))) {
		return fs.SkipDir
	}
	return nil
}

func moduleName(file string) (string, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the go.mod of the test's own module
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if name, found := strings.CutPrefix(strings.TrimSpace(line), "module "); found {
			return strings.TrimSpace(name), nil
		}
	}
	return "", fmt.Errorf("%s names no module", file)
}

// add takes over what a file of the package imports.
func (u *unit) add(name string) error {
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		return err
	}
	imports := u.imports
	if strings.HasSuffix(name, "_test.go") {
		imports = u.tests
	} else if explains(file) {
		u.explained = true
	}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		imports[imported] = true
	}
	return nil
}

func explains(file *ast.File) bool {
	return file.Doc != nil && strings.TrimSpace(file.Doc.Text()) != ""
}

func report(t *testing.T, findings []string) {
	t.Helper()
	for _, finding := range findings {
		t.Error(finding)
	}
}

// Order fails the test unless the packages below prefix (a path inside the repository, such as
// "services/auth/internal/") import only packages that stand before them in bottomUp, and are all named there.
func Order(t *testing.T, prefix string, bottomUp []string) {
	t.Helper()
	report(t, order(list(t), prefix, bottomUp))
}

func order(units []*unit, prefix string, bottomUp []string) []string {
	var findings []string
	prefix = Module + prefix
	for _, u := range units {
		name, inside := strings.CutPrefix(u.path, prefix)
		if !inside {
			continue
		}
		at := slices.Index(bottomUp, name)
		if at < 0 {
			findings = append(findings, fmt.Sprintf("package %s is not in the import order: add it where it belongs", name))
			continue
		}
		for _, imported := range slices.Sorted(maps.Keys(u.imports)) {
			below, ours := strings.CutPrefix(imported, prefix)
			if ours && slices.Index(bottomUp, below) >= at {
				findings = append(findings, fmt.Sprintf("%s imports %s, which stands above it", name, below))
			}
		}
	}
	return findings
}

// Only fails the test unless the package imported (a path or a prefix of paths) is imported by nobody but the
// packages in allowed (paths inside the repository), tests included.
func Only(t *testing.T, imported string, allowed ...string) {
	t.Helper()
	report(t, only(list(t), imported, allowed))
}

func only(units []*unit, imported string, allowed []string) []string {
	var findings []string
	for _, u := range units {
		name := strings.TrimPrefix(u.path, Module)
		if slices.Contains(allowed, name) {
			continue
		}
		for _, i := range u.all() {
			if i == imported || strings.HasPrefix(i, imported+"/") {
				findings = append(findings, fmt.Sprintf("%s imports %s, which only %s may", name, i, strings.Join(allowed, ", ")))
			}
		}
	}
	return findings
}

// Within fails the test unless all imports of this repository start with one of the allowed prefixes (paths
// inside the repository), tests included.
func Within(t *testing.T, allowed ...string) {
	t.Helper()
	report(t, within(list(t), allowed))
}

func within(units []*unit, allowed []string) []string {
	var findings []string
	for _, u := range units {
		for _, i := range u.all() {
			inside, ours := strings.CutPrefix(i, Module)
			if ours && !slices.ContainsFunc(allowed, func(a string) bool { return strings.HasPrefix(inside, a) }) {
				findings = append(findings, fmt.Sprintf("%s imports %s", u.path, i))
			}
		}
	}
	return findings
}

// StandardLibraryOnly fails the test if a package of the module imports anything outside the standard library,
// golang.org/x and this module.
func StandardLibraryOnly(t *testing.T) {
	t.Helper()
	report(t, standardLibraryOnly(list(t)))
}

func standardLibraryOnly(units []*unit) []string {
	var findings []string
	for _, u := range units {
		for _, i := range u.all() {
			first, _, _ := strings.Cut(i, "/")
			if strings.Contains(first, ".") && !strings.HasPrefix(i, "golang.org/x/") && !strings.HasPrefix(i, Module+"pkg/") {
				findings = append(findings, fmt.Sprintf("%s imports %s", u.path, i))
			}
		}
	}
	return findings
}

// Explained fails the test if a package has no package comment, or the module no package.
func Explained(t *testing.T) {
	t.Helper()
	report(t, explained(list(t)))
}

func explained(units []*unit) []string {
	if len(units) == 0 {
		return []string{"the module has no packages"}
	}
	var findings []string
	for _, u := range units {
		if !u.explained && len(u.imports) > 0 {
			findings = append(findings, u.path+" has no package comment")
		}
	}
	return findings
}
