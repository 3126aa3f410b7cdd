package app_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The table of attacks on the node in docs/testing.md names tests that there are.
func TestDocsNameTheSecurityTestsOfTheNode(t *testing.T) {
	text, err := os.ReadFile("../../../../docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| attack on the node | ")
	table, _, _ = strings.Cut(table, "\n\n")
	named := regexp.MustCompile("`([a-z]+)\\.(Test\\w+)`").FindAllStringSubmatch(table, -1)
	if rows := strings.Count(table, "\n| "); rows < 7 || len(named) < rows {
		t.Fatalf("%d rows name %d tests", rows, len(named))
	}
	for _, n := range named {
		files, err := filepath.Glob(filepath.Join("..", n[1], "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			found = found || strings.Contains(string(source), "func "+n[2]+"(t *testing.T) {")
		}
		if !found {
			t.Errorf("package %s has no test %s", n[1], n[2])
		}
	}
}
