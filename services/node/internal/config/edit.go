package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	gotoml "github.com/pelletier/go-toml/v2"
)

// File is the content of a configuration file: the settings that it holds, without defaults or environment.
type File struct {
	values map[string]any // by path; the free table under its name
}

// NewFile returns an empty file.
func NewFile() *File { return &File{values: map[string]any{}} }

// ReadFile reads the file at path. Unknown settings are an error; values are not checked. The error wraps
// [ErrNoFile] when there is none.
func ReadFile(path string) (*File, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w at %s", ErrNoFile, path)
	}
	if err != nil {
		return nil, err
	}
	var content map[string]any
	if err := gotoml.Unmarshal(text, &content); err != nil {
		return nil, fmt.Errorf("%s: %w", path, syntax(err))
	}
	f, l := NewFile(), newLoader()
	f.take(l, "", content)
	return f, errors.Join(l.problems...)
}

func (f *File) take(l *loader, prefix string, table map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(table)) {
		path := prefix + name
		nested, isTable := table[name].(map[string]any)
		_, known := l.known[path]
		switch {
		case strings.Contains(name, "."):
			l.problem(prefix+strconv.Quote(name), errDotted)
		case known:
			f.values[path] = table[name]
		case isTable && l.isTable(path):
			f.take(l, path+".", nested)
		default:
			l.problem(path, l.unknown(path))
		}
	}
}

// Set sets one setting to a string, bool, int64 or []string, whatever its kind wants. It panics on a path that is
// no setting, which only a mistake in this program can cause.
func (f *File) Set(path string, value any) {
	s, ok := index()[path]
	if !ok {
		panic("config: no setting " + path)
	}
	if _, err := s.value(value); err != nil {
		panic("config: " + path + ": " + err.Error())
	}
	f.values[path] = value
}

// SetFree sets one entry of the free table.
func (f *File) SetFree(name string, value any) {
	table, _ := f.values["context"].(map[string]any)
	table = maps.Clone(table)
	if table == nil {
		table = map[string]any{}
	}
	table[name] = value
	f.values["context"] = table
}

// Assign sets one setting from the text PATH=VALUE, whose value is written as in the file.
func (f *File) Assign(assignment string) error {
	path, text, ok := strings.Cut(assignment, "=")
	path = strings.TrimSpace(path)
	if !ok {
		return fmt.Errorf("%q: want SETTING=VALUE", assignment)
	}
	l := newLoader()
	s, known := l.known[path]
	switch {
	case !known:
		return fmt.Errorf("%s: %w", path, l.unknown(path))
	case s.EnvOnly:
		return fmt.Errorf("%s: can only be set by the environment variable %s", path, s.Env())
	}
	var parsed map[string]any
	if err := gotoml.Unmarshal([]byte("value = "+text), &parsed); err != nil || len(parsed) != 1 {
		hint := ""
		if s.Kind == String {
			hint = `; a string needs quotes that the shell leaves alone: ` + path + `='"…"'`
		}
		return fmt.Errorf("%s: the value is not TOML%s", path, hint)
	}
	if _, err := s.value(parsed["value"]); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	f.values[path] = parsed["value"]
	return nil
}

// Masked returns a copy without secrets, to show.
func (f *File) Masked() *File {
	out := &File{values: maps.Clone(f.values)}
	for _, s := range Settings() {
		if _, ok := out.values[s.Path]; ok && s.Secret {
			out.values[s.Path] = Masked
		}
	}
	return out
}

const heading = "# Configuration of a node. docs/node.md lists every setting with its default.\n" +
	"# This file holds the node's secret key: keep it private. 'merod config' rewrites it without comments.\n"

// Bytes returns the file as TOML, in the order of [Settings].
func (f *File) Bytes() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(heading)
	table := ""
	for _, s := range Settings() {
		v, ok := f.values[s.Path]
		if !ok || s.Kind == Table {
			continue
		}
		parent, name := "", s.Path
		if i := strings.LastIndexByte(s.Path, '.'); i >= 0 {
			parent, name = s.Path[:i], s.Path[i+1:]
		}
		if parent != table {
			table = parent
			b.WriteString("\n[" + table + "]\n")
		}
		text, err := Literal(v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Path, err)
		}
		b.WriteString(name + " = " + text + "\n")
	}
	if v, ok := f.values["context"]; ok {
		text, err := gotoml.Marshal(map[string]any{"context": v})
		if err != nil {
			return nil, fmt.Errorf("context: %w", err)
		}
		b.WriteString("\n")
		b.Write(text)
	}
	return b.Bytes(), nil
}

// Literal writes a value of a setting as TOML, strings in double quotes.
func Literal(v any) (string, error) {
	switch x := v.(type) {
	case string:
		return quote(x)
	case []string:
		return literals(x)
	case []any:
		return literals(x)
	}
	text, err := gotoml.Marshal(map[string]any{"v": v})
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(strings.TrimPrefix(string(text), "v =")), nil
}

func literals[T any](list []T) (string, error) {
	parts := make([]string, len(list))
	for i, v := range list {
		text, err := Literal(v)
		if err != nil {
			return "", err
		}
		parts[i] = text
	}
	return "[" + strings.Join(parts, ", ") + "]", nil
}

// quote writes a TOML basic string. JSON's escapes are a subset of TOML's; DEL alone must be escaped there only.
func quote(s string) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return "", err
	}
	return strings.ReplaceAll(strings.TrimSpace(b.String()), "\x7f", `\u007f`), nil
}

// Save checks the file as [Load] would read it and replaces the one at path in one step, readable by its owner
// only. When it returns an error the old file is untouched.
func (f *File) Save(path string) error {
	text, err := f.Bytes()
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".config-*.toml") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }() // fails after the rename, which is the normal case
	_, err = temp.Write(text)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if _, _, err := Load(temp.Name(), nil, nil); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	d, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
