package config_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/node/internal/config"
)

var update = flag.Bool("update", false, "write the settings table of docs/node.md")

const (
	reference  = "../../../../docs/node.md"
	tableBegin = "<!-- settings: begin (checked against the program by a test; -update writes it) -->\n"
	tableEnd   = "<!-- settings: end -->\n"
)

// table returns the settings as the documentation shows them.
func table() string {
	var b strings.Builder
	b.WriteString("| setting | type | default | meaning |\n|---|---|---|---|\n")
	for _, s := range config.Settings() {
		def := "–"
		switch v := s.Default.(type) {
		case nil:
		case string:
			if v != "" {
				def = "`" + v + "`"
			}
		case []string:
			if len(v) > 0 {
				def = "`" + strings.Join(v, "`, `") + "`"
			}
		default:
			def = fmt.Sprintf("`%v`", v)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", s.Path, s.Kind, def, s.Doc)
	}
	return b.String()
}

func TestDocumentationListsEverySetting(t *testing.T) {
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), tableBegin)
	written, after, closed := strings.Cut(rest, tableEnd)
	if !found || !closed {
		t.Fatalf("%s lacks the marks of the settings table", reference)
	}
	want := table()
	if *update {
		if err := os.WriteFile(reference, []byte(before+tableBegin+want+tableEnd+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if written != want {
		t.Errorf("the settings table of %s is not that of the program; run: go test -run %s ./internal/config -update\ngot\n%s\nwant\n%s", reference, t.Name(), written, want)
	}
}

func TestEverySettingIsExplained(t *testing.T) {
	for _, s := range config.Settings() {
		if len(s.Doc) < 10 {
			t.Errorf("%s: explanation %q", s.Path, s.Doc)
		}
	}
}
