package traefik_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// settings are the scalars of a configuration by their path: "http.routers.node.priority" is "1". A list is its items,
// joined by ", ".
type settings map[string]string

var (
	yamlKey   = regexp.MustCompile(`^( *)(- )?([A-Za-z0-9-]+):(?: (\S.*))?$`)
	yamlList  = regexp.MustCompile(`^\[[A-Za-z0-9-]+(?:, [A-Za-z0-9-]+)*\]$`)
	yamlPlain = regexp.MustCompile(`^[A-Za-z0-9/][A-Za-z0-9./:-]*$`)
	yamlQuote = regexp.MustCompile(`^(?:"[^"\\]*"|'[^']*')$`)
)

// parse reads the part of YAML that the shipped files keep to: maps in block style, lists of words in brackets, lists of
// maps, plain and quoted scalars. Whatever could be read in another way is an error: a second value for a key, tabs,
// anchors, merges, comments after a value.
func parse(text string) (settings, error) {
	found := make(settings)
	type level struct {
		indent int
		path   string
	}
	var open []level
	for i, line := range strings.Split(text, "\n") {
		if trimmed := strings.TrimLeft(line, " "); trimmed == "" || trimmed[0] == '#' {
			continue
		}
		m := yamlKey.FindStringSubmatch(line)
		if m == nil {
			return nil, fmt.Errorf("line %d is not in the simple form: %q", i+1, line)
		}
		indent := len(m[1]) + len(m[2])
		for len(open) > 0 && open[len(open)-1].indent >= indent {
			open = open[:len(open)-1]
		}
		path := m[3]
		if len(open) > 0 {
			path = open[len(open)-1].path + "." + path
		} else if indent > 0 {
			return nil, fmt.Errorf("line %d is indented below nothing: %q", i+1, line)
		}
		if _, twice := found[path]; twice {
			return nil, fmt.Errorf("line %d sets %s again", i+1, path)
		}
		switch value := m[4]; {
		case value == "":
			open = append(open, level{indent, path})
		case yamlList.MatchString(value), yamlQuote.MatchString(value):
			found[path] = value[1 : len(value)-1]
		case yamlPlain.MatchString(value):
			found[path] = value
		default:
			return nil, fmt.Errorf("line %d has a value that is not in the simple form: %q", i+1, value)
		}
	}
	return found, nil
}

func read(t *testing.T, name string) settings {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	found, err := parse(string(raw))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return found
}

// below returns the settings under a path, by the rest of theirs.
func (s settings) below(path string) settings {
	found := make(settings)
	for name, value := range s {
		if rest, ok := strings.CutPrefix(name, path+"."); ok {
			found[rest] = value
		}
	}
	return found
}

// children returns the sorted names that stand directly under a path.
func (s settings) children(path string) []string {
	names := make(map[string]bool)
	for name := range s.below(path) {
		first, _, _ := strings.Cut(name, ".")
		names[first] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// list returns the items of a list.
func (s settings) list(path string) []string {
	if s[path] == "" {
		return nil
	}
	return strings.Split(s[path], ", ")
}

func TestParse(t *testing.T) {
	got, err := parse("# text\na:\n  b: [x, y-z]\n\n  c:\n    d: \"q: r\"\n    e: ''\nf:\n  - g: 1s\n")
	if err != nil {
		t.Fatal(err)
	}
	want := settings{"a.b": "x, y-z", "a.c.d": "q: r", "a.c.e": "", "f.g": "1s"}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, text := range []string{
		"a: x\na: y", "f:\n  - g: x\n  - g: y", "  a: x", "a:\n\tb: x", "a: &x y", "a: *x", "<<: x", "a: x # y",
		"a: {b: x}", "- x", "a: |\n  x", "a: \"x\\\"y\"", "a: [x, [y]]", "--- a: x",
	} {
		if got, err := parse(text); err == nil {
			t.Errorf("%q is read as %v, want an error", text, got)
		}
	}
}
