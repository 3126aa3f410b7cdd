package internal_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/calimero-network/mero-go/services/node/"

// order lists the packages bottom first: each may import only those before it.
var order = []string{
	"id", "multiaddr", "peer", "caller", "config", "home", "store", "blob", "health", "metrics", "guard", "httpapi", "app", "cli",
}

// owners names the one package that may import a library.
var owners = map[string]string{
	"github.com/labstack/echo":                          "httpapi",
	"go.etcd.io/bbolt":                                  "store",
	"github.com/knadh/koanf":                            "config",
	"github.com/spf13/cobra":                            "cli",
	"github.com/prometheus":                             "metrics",
	"github.com/calimero-network/mero-go/services/auth": "app", // and of that only embed
}

type pkg struct {
	ImportPath string
	Imports    []string
	Doc        string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,Doc", module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestImportOrder(t *testing.T) {
	seen := 0
	for _, p := range packages(t) {
		name, internal := strings.CutPrefix(p.ImportPath, module+"internal/")
		level := slices.Index(order, name)
		if internal && level < 0 {
			t.Errorf("%s is not in the list: say where it stands", p.ImportPath)
			continue
		}
		seen++
		for _, imported := range p.Imports {
			if lower, ok := strings.CutPrefix(imported, module+"internal/"); ok && internal && slices.Index(order, lower) >= level {
				t.Errorf("%s imports %s, which stands above it", name, lower)
			}
			for library, owner := range owners {
				if (imported == library || strings.HasPrefix(imported, library+"/")) && name != owner {
					t.Errorf("%s imports %s, which is for %s only", name, imported, owner)
				}
			}
			if rest, ok := strings.CutPrefix(imported, "github.com/calimero-network/mero-go/services/auth/"); ok && rest != "embed" {
				t.Errorf("%s imports %s: of mero-auth only embed is for us", name, imported)
			}
		}
	}
	if seen < len(order) {
		t.Errorf("saw %d packages, the list has %d", seen, len(order))
	}
}

func TestEveryPackageIsExplained(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" && p.ImportPath != module+"internal" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}
