package importtest

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// module writes a module of these files and reads it back.
func module(t *testing.T, files map[string]string) []*unit {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	units, err := read(root)
	if err != nil {
		t.Fatal(err)
	}
	return units
}

const goMod = "module " + Module + "pkg\n\ngo 1.26\n"

func TestRules(t *testing.T) {
	importing := func(path string) string {
		return "// Package low is at the bottom.\npackage low\n\nimport _ \"" + path + "\"\n"
	}
	tests := []struct {
		name  string
		files map[string]string
		judge func([]*unit) []string
		want  []string
	}{
		{
			"an import that points up",
			map[string]string{"low/low.go": importing(Module + "pkg/high"), "high/high.go": importing("fmt")},
			func(u []*unit) []string { return order(u, "pkg/", []string{"low", "high"}) },
			[]string{"low imports high, which stands above it"},
		},
		{
			"an import that points up, behind a build tag",
			map[string]string{"low/low.go": "//go:build mock\n\n" + importing(Module+"pkg/high"), "high/high.go": importing("fmt")},
			func(u []*unit) []string { return order(u, "pkg/", []string{"low", "high"}) },
			[]string{"low imports high, which stands above it"},
		},
		{
			"a test may import what stands above",
			map[string]string{"low/low.go": importing("fmt"), "low/low_test.go": importing(Module + "pkg/high"), "high/high.go": importing("fmt")},
			func(u []*unit) []string { return order(u, "pkg/", []string{"low", "high"}) },
			nil,
		},
		{
			"a package that is not in the order",
			map[string]string{"new/new.go": importing("fmt")},
			func(u []*unit) []string { return order(u, "pkg/", []string{"low"}) },
			[]string{"package new is not in the import order: add it where it belongs"},
		},
		{
			"a library outside its package, in a test behind a build tag",
			map[string]string{"low/low_test.go": "//go:build soak\n\n" + importing("example.org/library/sub")},
			func(u []*unit) []string { return only(u, "example.org/library", []string{"pkg/high"}) },
			[]string{"pkg/low imports example.org/library/sub, which only pkg/high may"},
		},
		{
			"a library with a longer name",
			map[string]string{"low/low.go": importing("example.org/library2")},
			func(u []*unit) []string { return only(u, "example.org/library", nil) },
			nil,
		},
		{
			"a service imported by pkg",
			map[string]string{"low/low.go": importing(Module + "services/auth/embed")},
			func(u []*unit) []string { return within(u, []string{"pkg/"}) },
			[]string{Module + "pkg/low imports " + Module + "services/auth/embed"},
		},
		{
			"something beyond the standard library",
			map[string]string{"low/low.go": importing("example.org/library"), "low/x.go": importing("golang.org/x/time/rate")},
			standardLibraryOnly,
			[]string{Module + "pkg/low imports example.org/library"},
		},
		{
			"a package without a comment",
			map[string]string{"low/low.go": "package low\n\nimport _ \"fmt\"\n", "high/high.go": importing("fmt")},
			explained,
			[]string{Module + "pkg/low has no package comment"},
		},
		{
			"what is no package of the module",
			map[string]string{
				"testdata/x.go": importing("example.org/library"), "node_modules/y/y.go": importing("example.org/library"),
				"_old/z.go": importing("example.org/library"), "other/go.mod": goMod, "other/o.go": importing("example.org/library"),
			},
			func(u []*unit) []string { return append(standardLibraryOnly(u), explained(u)...) },
			[]string{"the module has no packages"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.files["go.mod"] = goMod
			if got := test.judge(module(t, test.files)); !slices.Equal(got, test.want) {
				t.Errorf("findings %q, want %q", got, test.want)
			}
		})
	}
}
