package config

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite docs/configuration.md")

// docs is the reference, from the folder of this package.
var docs = filepath.Join("..", "..", "..", "..", "docs", "configuration.md")

// The table and the struct must name the same keys in the same order: a key without a row would have no limits, a row
// without a key would be documentation of nothing.
func TestSettings_MatchConfig(t *testing.T) {
	var rows, keys []string
	for _, s := range settings {
		rows = append(rows, s.name)
	}
	for _, f := range newSchema().fields {
		keys = append(keys, f.name)
	}
	if !slices.Equal(rows, keys) {
		for _, k := range keys {
			if !slices.Contains(rows, k) {
				t.Errorf("Config has %s, the table of settings has not", k)
			}
		}
		for _, r := range rows {
			if !slices.Contains(keys, r) {
				t.Errorf("the table of settings has %s, Config has not", r)
			}
		}
		t.Errorf("order of the table:\n%s\norder of Config:\n%s", strings.Join(rows, "\n"), strings.Join(keys, "\n"))
	}
}

func TestSettings_Complete(t *testing.T) {
	for _, f := range newSchema().fields {
		if (f.meaning == "") == (f.idle == "") {
			t.Errorf("%s: has meaning %q and idle %q, want exactly one of them", f.name, f.meaning, f.idle)
		}
		number := f.typ == durationType || !slices.Contains([]reflect.Kind{reflect.String, reflect.Bool, reflect.Slice}, f.typ.Kind())
		if number && f.max == 0 {
			t.Errorf("%s: a number without an upper bound", f.name)
		}
		if f.min < 0 {
			t.Errorf("%s: min = %d, want no negative bound", f.name, f.min)
		}
	}
}

// Every key has both spellings, every secret a file, and no name means two things.
func TestVariables(t *testing.T) {
	s := newSchema()
	keys, isFile := map[string]string{}, map[string]bool{}
	for _, v := range s.variables() {
		if other, ok := keys[v.name]; ok {
			t.Errorf("%s sets %s and %s", v.name, other, v.key)
		}
		keys[v.name], isFile[v.name] = v.key, v.file
	}
	for _, f := range s.fields {
		single, double := f.environment()
		for _, name := range []string{single, double} {
			if keys[name] != f.name || isFile[name] {
				t.Errorf("%s sets %q from a file: %t; want %s and not from a file", name, keys[name], isFile[name], f.name)
			}
			own := keys[name+"_FILE"] == f.name && isFile[name+"_FILE"]
			if f.secret() && !own && keys[name+"_FILE"] != f.name+"_file" {
				t.Errorf("the secret %s cannot come from a file: %s_FILE sets %q", f.name, name, keys[name+"_FILE"])
			}
		}
	}
}

func TestReference(t *testing.T) {
	intro, err := os.ReadFile(filepath.Join("testdata", "reference_intro.md"))
	if err != nil {
		t.Fatal(err)
	}
	want := append(intro, referenceTables()...)
	if *update {
		if err := os.WriteFile(docs, want, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(docs)
	if err != nil {
		t.Fatalf("%v (make it with: go test ./internal/config -run TestReference -update)", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("docs/configuration.md is stale: run go test ./internal/config -run TestReference -update")
	}
}

func referenceTables() []byte {
	var b bytes.Buffer
	section := "-"
	for _, f := range newSchema().fields {
		key := lastPart(f.name)
		if s := strings.TrimSuffix(strings.TrimSuffix(f.name, key), "."); s != section {
			section = s
			title := "Top level"
			if s != "" {
				title = "[" + s + "]"
			}
			fmt.Fprintf(&b, "\n### %s\n\n| key | type | default | meaning and limits | environment |\n|---|---|---|---|---|\n", title)
		}
		single, _ := f.environment()
		env := "`" + single + "`"
		if f.secret() {
			env += ", `" + single + "_FILE`"
		}
		cells := []string{"`" + key + "`", f.kind(), f.initial(), f.words(), env}
		for i, c := range cells {
			cells[i] = strings.ReplaceAll(c, "|", `\|`)
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	return b.Bytes()
}

// kind names the type for people.
func (f field) kind() string {
	switch {
	case f.typ == secretType:
		return "secret text"
	case f.typ == endpointType:
		return "text, secret behind the host"
	case f.typ == durationType:
		return "whole seconds"
	case f.typ.Kind() == reflect.Bool:
		return "true or false"
	case f.typ.Kind() == reflect.String:
		return "text"
	case f.typ.Kind() != reflect.Slice:
		return "whole number"
	case f.typ.Elem().Kind() == reflect.Uint64:
		return "list of whole numbers"
	}
	return "list of texts"
}

// initial is the default for people.
func (f field) initial() string {
	if f.derived != "" {
		return f.derived
	}
	c := Defaults()
	if s := f.literal(&c); s != "" && s != `""` {
		return "`" + s + "`"
	}
	return "none"
}

// words joins the meaning with the limits.
func (f field) words() string {
	if f.idle != "" {
		return "Accepted without effect: " + f.idle + "."
	}
	limits := []string{f.limits}
	switch {
	case f.oneOf != nil:
		limits = append(limits, alternatives(f.oneOf))
	case f.max == 1<<63-1:
		limits = append(limits, fmt.Sprintf("at least %d", f.min))
	case f.max > 0:
		limits = append(limits, fmt.Sprintf("%d to %d", f.min, f.max))
	}
	limits = slices.DeleteFunc(limits, func(s string) bool { return s == "" })
	words := f.meaning
	if len(limits) > 0 {
		words += " Limits: " + strings.Join(limits, "; ") + "."
	}
	if f.live {
		words += " Reloaded."
	}
	return words
}
