package app_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const repository = "../../../.."

// testsIn returns the names of the tests of a package that docs/testing.md names, nil when there is no such package.
func testsIn(t *testing.T, name string) (tests []string) {
	t.Helper()
	for _, module := range []string{"services/auth/internal", "pkg", "deploy"} {
		files, err := filepath.Glob(filepath.Join(repository, module, filepath.FromSlash(name), "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`).FindAllSubmatch(source, -1) {
				tests = append(tests, string(found[1]))
			}
		}
	}
	return tests
}

// The tables of attacks and faults in docs/testing.md have every number, and every test that they name exists.
func TestDocsNameTheSecurityTests(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repository, "docs/testing.md"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]int{
		"attack": {5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 23, 24, 25, 26, 28, 29, 30},
		"fault":  {1, 2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 15},
	}
	for kind, numbers := range want {
		_, table, found := strings.Cut(string(text), "| "+kind+" | what | tests |\n")
		if !found {
			t.Fatalf("no table of %ss", kind)
		}
		table, _, _ = strings.Cut(table, "\n\n")
		var listed []int
		for row := range strings.Lines(table) {
			cells := strings.Split(row, " | ")
			number, err := strconv.Atoi(strings.TrimPrefix(cells[0], "| "))
			if err != nil {
				continue // the line below the head
			}
			listed = append(listed, number)
			named := regexp.MustCompile("`([a-z0-9/]+)\\.(Test\\w+)`").FindAllStringSubmatch(row, -1)
			if len(named) == 0 || strings.Count(row, "`") < 2*len(named) {
				t.Errorf("%s %d names no test", kind, number)
			}
			for _, n := range named {
				if !slices.Contains(testsIn(t, n[1]), n[2]) {
					t.Errorf("%s %d: package %s has no test %s", kind, number, n[1], n[2])
				}
			}
		}
		if !slices.Equal(listed, numbers) {
			t.Errorf("%ss %v, want %v", kind, listed, numbers)
		}
	}
}

// The corpora of the tests are whole, and their copies are one.
func TestCorporaAreWhole(t *testing.T) {
	const auth = "services/auth/internal/"
	for digest, files := range map[string][]string{
		"f338036af3c060c0385f06109115971a6994dcfbea6a0af5c1ac925d7a387b3f": {auth + "token/testdata/jwt_attacks.json"},
		"06518fc1707e76bbcdd673401909a4710e7a6477b2c689b83642b1ea5207fa74": {auth + "httpapi/testdata/input_abuse.json"},
		"235face92965d8a2f213016b3c5a8ba4e2fa652412b33fbae840a4ca27b53ecb": {auth + "provider/near/testdata/nep413_cases.json"},
		"6d24fa38d4ceaee8b9c689bff4bd8828c5989843f8c434abc34f3d2f98d6a746": {auth + "provider/ethereum/testdata/siwe_cases.json"},
		"cd98e06797acd848869e297aff5e5aa5bcfc16ec12544a02a1f805ec2f71b06b": {"pkg/permission/testdata/permission_cases.json"},
		"4a0d85eb1f0083c2cc9f553b497afa8618fa8fe3eff73b038437e8382c0f07bf": {"pkg/route/testdata/uri_cases.json", auth + "httpapi/testdata/uri_cases.json", "deploy/e2e/testdata/uri_cases.json"},
	} {
		for _, file := range files {
			content, err := os.ReadFile(filepath.Join(repository, filepath.FromSlash(file)))
			if err != nil {
				t.Fatal(err)
			}
			if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != digest {
				t.Errorf("%s is not the corpus that the requirements brought", file)
			}
		}
	}
}
