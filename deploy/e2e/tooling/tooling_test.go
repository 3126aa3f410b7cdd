package tooling_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const root = "../../.."

// repository is a small one with the scripts of ours.
type repository struct {
	dir string
	env []string
}

// newRepository makes one with our scripts, a module m and the given files; a file without text removes one.
func newRepository(t *testing.T, files map[string]string) *repository {
	t.Helper()
	r := &repository{dir: t.TempDir(), env: append(os.Environ(), "GOTOOLCHAIN=local", "MAKEFLAGS=", "MFLAGS=")}
	scripts, err := filepath.Glob(filepath.Join(root, "deploy/scripts/*.sh"))
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, name := range append(scripts, filepath.Join(root, ".ci/run")) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		inside, err := filepath.Rel(root, name)
		if err != nil {
			t.Fatal(err)
		}
		r.write(t, inside, string(text))
	}
	r.write(t, "go.work", "go 1.26\n\nuse ./m\n")
	r.write(t, "m/go.mod", "module example.org/m\n\ngo 1.26\n")
	r.write(t, "m/m.go", "// Package m is a module.\npackage m\n")
	r.write(t, "deploy/packages.txt", "# none\n")
	for name, text := range files {
		r.write(t, name, text)
	}
	if out, err := r.command(t, "git", "init", "--quiet").CombinedOutput(); err != nil {
		t.Fatalf("git init: %v\n%s", err, out)
	}
	return r
}

// write puts a file into the repository, so old that results of tests that read it are kept.
func (r *repository) write(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(file, old, old); err != nil {
		t.Fatal(err)
	}
}

func (r *repository) command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = r.dir, r.env
	return cmd
}

// run runs a script and returns its exit code and what it printed.
func (r *repository) run(t *testing.T, script string, args ...string) (int, string) {
	t.Helper()
	out, err := r.command(t, filepath.Join(r.dir, script), args...).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), string(out)
	}
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return 0, string(out)
}

// wants fails the test unless a script ends with this code and prints the texts, the last of them in the last line.
func (r *repository) wants(t *testing.T, code int, texts []string, script string, args ...string) string {
	t.Helper()
	got, out := r.run(t, script, args...)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for i, text := range texts {
		where := out
		if i == len(texts)-1 {
			where = lines[len(lines)-1]
		}
		if !strings.Contains(where, text) {
			t.Errorf("%s %v does not print %q", script, args, text)
		}
	}
	if got != code || t.Failed() {
		t.Errorf("%s %v ends with %d, want %d:\n%s", script, args, got, code, out)
	}
	return out
}

func TestCheck_ScriptWithSyntaxError(t *testing.T) {
	t.Parallel()
	r := newRepository(t, nil)
	r.wants(t, 0, []string{"check passed"}, "deploy/scripts/check.sh", "scripts")
	r.write(t, "deploy/scripts/a.sh", "#!/usr/bin/env bash\nif true; then\n") // not the last one
	r.wants(t, 1, []string{"a.sh: line ", "check failed: scripts"}, "deploy/scripts/check.sh", "scripts", "workspace")
}

// A linter that only refuses its configuration: everything after it would pass.
func TestCheck_ConfigurationOfTheLinter(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "deploy/scripts/check.sh"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^golangci_version=(\S+)$`).FindStringSubmatch(string(text))
	if version == nil {
		t.Fatal("check.sh names no version of the linter")
	}
	linter := func(verify string) string {
		return "#!/bin/sh\ncase $1 in\nversion) echo 'golangci-lint has version v" + version[1] + " built' ;;\nconfig) " + verify + " ;;\nesac\n"
	}
	r := newRepository(t, map[string]string{".tools/golangci-lint": linter("exit 0")})
	r.wants(t, 0, []string{"check passed"}, "deploy/scripts/check.sh", "lint")
	r.write(t, ".tools/golangci-lint", linter("echo 'unknown key bogus'; exit 3"))
	r.wants(t, 1, []string{"unknown key bogus", "check failed: lint"}, "deploy/scripts/check.sh", "lint")
}

func TestCheck_UnknownPart(t *testing.T) {
	t.Parallel()
	newRepository(t, nil).wants(t, 2, []string{"there is no part lnt"}, "deploy/scripts/check.sh", "lnt")
}

// Results of tests that passed are kept; an import that points the wrong way, behind a build tag too, is seen all the same.
func TestCheck_ImportsWithAWarmCache(t *testing.T) {
	t.Parallel()
	files := map[string]string{"go.work": "go 1.26\n\nuse ./pkg\n", "pkg/go.mod": "module github.com/calimero-network/mero-go/pkg\n\ngo 1.26\n"}
	for _, name := range []string{"pkg/importtest/importtest.go", "pkg/importtest/imports_test.go"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(text)
	}
	r := newRepository(t, files)
	r.wants(t, 0, []string{"check passed"}, "deploy/scripts/check.sh", "imports")
	r.wants(t, 0, []string{"(cached)", "check passed"}, "deploy/scripts/check.sh", "imports")
	r.write(t, "pkg/low/low.go", "//go:build soak\n\n// Package low is low.\npackage low\n\nimport _ \"github.com/calimero-network/mero-go/services/auth/embed\"\n")
	r.wants(t, 1, []string{"pkg/low imports", "check failed: imports"}, "deploy/scripts/check.sh", "imports")
}

func TestCheck_CodeBehindABuildTag(t *testing.T) {
	t.Parallel()
	r := newRepository(t, map[string]string{"m/soak_test.go": "//go:build soak\n\npackage m\n\nvar _ int = \"\"\n"})
	r.wants(t, 1, []string{"in m with -tags soak", "check failed: vet"}, "deploy/scripts/check.sh", "vet")
}

// What comes from a network is asked for again, but not for ever.
func TestAgain(t *testing.T) {
	t.Parallel()
	for fails, want := range map[string]string{"1": "xx 0", "9": "xxx 1"} {
		r := newRepository(t, map[string]string{"fetch.sh": "#!/usr/bin/env bash\n. deploy/scripts/attempt.sh\n" +
			"fetch() { printf x >>tries; [ $(wc -c <tries) -gt " + fails + " ]; }\ncode=0; again fetch || code=$?\necho \"$(cat tries) $code\"\n"})
		r.wants(t, 0, []string{"try 1 failed: fetch", want}, "fetch.sh")
	}
}

const passing = "package m\n\nimport \"testing\"\n\nfunc TestRan(t *testing.T) {}\n"

func TestTest_BuildThatFails(t *testing.T) {
	t.Parallel()
	r := newRepository(t, map[string]string{
		"Makefile": "build:\n\t@echo no compiler; false\n", "deploy/e2e/go.mod": "module example.org/e2e\n\ngo 1.26\n", "deploy/e2e/ran_test.go": passing,
	})
	r.wants(t, 1, []string{"no compiler", "failed: e2e", "0 passed, 1 failed, 0 skipped"}, "deploy/scripts/test.sh", "e2e")
	r.write(t, "Makefile", "build:\n")
	r.wants(t, 0, []string{"1 passed, 0 failed, 0 skipped"}, "deploy/scripts/test.sh", "e2e")
}

func TestTest_MissingPackagesAreSaidFirst(t *testing.T) {
	t.Parallel()
	r := newRepository(t, map[string]string{"deploy/scripts/packages.sh": "#!/bin/sh\necho \"missing for $*\"\nexit 1\n"})
	if out := r.wants(t, 1, []string{"missing for test"}, "deploy/scripts/test.sh", "unit", "e2e"); strings.Contains(out, "unit tests") {
		t.Errorf("tests ran before the packages were there:\n%s", out)
	}
}

func TestFuzz_CountsTargets(t *testing.T) {
	t.Parallel()
	fuzz := func(name, body string) string {
		return "func Fuzz" + name + "(f *testing.F) {\n\tf.Add(1)\n\tf.Fuzz(func(t *testing.T, n int) { " + body + " })\n}\n"
	}
	r := newRepository(t, map[string]string{
		"m/sub/fuzz_test.go": "package sub\n\nimport \"testing\"\n\n" +
			fuzz("Good", "") + fuzz("Fine", "") + fuzz("Bad", "t.Error(n)"),
		"m/killed/fuzz_test.go": "package killed\n\nimport (\n\t\"os\"\n\t\"syscall\"\n\t\"testing\"\n)\n\n" +
			fuzz("Killed", "if os.Mkdir(\"once\", 0o700) == nil { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) }"),
	})
	r.wants(t, 1, []string{"--- PASS: fuzz/FuzzGood", "--- FAIL: fuzz/FuzzBad", "FuzzKilled (m ./killed): its worker was killed", "3 passed, 1 failed"}, "deploy/scripts/fuzz.sh", "1000x")
}

func TestCI_TimesAndCounts(t *testing.T) {
	t.Parallel()
	const passed = "\t@echo '2 passed, 0 failed, 0 skipped'\n"
	r := newRepository(t, map[string]string{"Makefile": "check:\ntest:\n" + passed + "test-root:\n" + passed + "fuzz:\n\t@sleep 2\n" + passed})
	out := r.wants(t, 0, []string{"##### fuzz", "6 passed, 0 failed"}, ".ci/run")
	if !regexp.MustCompile(`(?m)^fuzz +[1-9][0-9]* s  ok$`).MatchString(out) {
		t.Errorf("the fuzzers, which compute for two seconds beside another stage, have no time:\n%s", out)
	}
	r.write(t, "Makefile", "check:\n\t@false\ntest:\n"+passed+"test-root:\n"+passed+"fuzz:\n\t@echo '7 passed, 2 failed'; false\n")
	r.wants(t, 1, []string{"check ", "FAILED (2)", "11 passed, 3 failed"}, ".ci/run")
	r.write(t, "deploy/scripts/packages.sh", "#!/bin/sh\nexit 1\n")
	r.wants(t, 1, []string{"FAILED (1)", "0 passed, 1 failed"}, ".ci/run")
}

// docs/testing.md says what every file of the end-to-end tests plays.
func TestPageNamesEveryFile(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(root, "docs/testing.md"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../*_test.go")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		if name := filepath.Base(file); !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/testing.md does not name %s", name)
		}
	}
}
