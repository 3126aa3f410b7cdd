package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// maxFile bounds the configuration file, in bytes.
const maxFile = 1 << 20

// readFile applies the configuration file: the one that a flag names, which must exist, else the usual one.
func (l *loader) readFile(usual, named string) {
	name, from := usual, origin{layer: fromFile, text: usual}
	if named != "" {
		name, from = named, origin{layer: fromFile, text: "flag --config"}
	}
	if name == "" {
		return
	}
	data, err := l.read(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && named == "":
		return
	case err != nil:
		l.broken(from, fmt.Sprintf("cannot read the configuration file: %v", err))
		return
	case len(data) > maxFile:
		l.broken(from, fmt.Sprintf("%s is larger than %d bytes: this is no configuration file", name, maxFile))
		return
	}
	l.parseFile(name, data)
}

// broken records that there is a file and nothing could be read from it. Rules between values would then complain
// about defaults.
func (l *loader) broken(from origin, message string) {
	l.problem(Problem{Message: message, at: from})
}

// parseFile reads a file as JSON when its name says so, and otherwise as TOML.
func (l *loader) parseFile(name string, data []byte) {
	w := fileWalk{loader: l, name: name, values: layer{}}
	var tree map[string]any
	var err error
	if strings.EqualFold(filepath.Ext(name), ".json") {
		if tree, w.lines, err = jsonTree(data); err != nil {
			l.broken(syntaxOrigin(name, err), "this is not JSON for settings: "+err.Error())
			return
		}
	} else {
		if tree, err = toml.Parser().Unmarshal(data); err != nil {
			l.broken(syntaxOrigin(name, err), syntaxMessage(data, err))
			return
		}
		w.lines = keyLines(data)
	}
	w.table("", tree)
	w.nameAllProviders(tree)
	l.apply(w.values)
}

// syntaxOrigin adds line and column, which the parser's error has and its text has not.
func syntaxOrigin(name string, err error) origin {
	from := origin{layer: fromFile, text: name}
	var at interface {
		error
		Position() (row, column int)
	}
	if errors.As(err, &at) {
		line, column := at.Position()
		from.line, from.text = line, fmt.Sprintf("%s:%d:%d", name, line, column)
	}
	return from
}

// syntaxMessage uses the short text of the parser's error: the long one quotes the file, which may hold secrets.
func syntaxMessage(data []byte, err error) string {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return "this is JSON: give the file a name that ends in .json, or write it in TOML"
	}
	return "this is not TOML: " + strings.TrimPrefix(err.Error(), "toml: ")
}

// fileWalk sorts what a file says into known keys and problems.
type fileWalk struct {
	*loader
	name   string
	lines  map[string]int
	values layer
}

func (w *fileWalk) from(name string) origin {
	if line := w.lines[name]; line > 0 {
		return origin{layer: fromFile, line: line, text: w.name + ":" + strconv.Itoa(line)}
	}
	return origin{layer: fromFile, text: w.name}
}

func (w *fileWalk) table(prefix string, table map[string]any) {
	for part, v := range table {
		name := prefix + segment(part)
		from := w.from(name)
		sub, isTable := v.(map[string]any)
		_, known := w.byName[name]
		switch {
		case known && isTable:
			w.problem(Problem{Key: name, Message: "is a value and not a section", at: from})
		case known:
			w.values[name] = value{v, from}
		case w.sections[name] && isTable:
			w.table(name+".", sub)
		case w.sections[name]:
			w.problem(Problem{Key: name, Message: fmt.Sprintf("is a section: write [%s] once and its keys below", name), at: from})
		case strings.Contains(part, "."):
			w.unknown(name, from, ": a dot inside quotation marks begins no section")
		default:
			w.unknown(name, from, suggestion(name, w.names()))
		}
	}
}

// segment is a part of a name. "jwt.issuer" = ... in quotation marks is not the key jwt.issuer, and is not called so.
func segment(part string) string {
	if strings.Contains(part, ".") {
		return "'" + part + "'"
	}
	return part
}

// unknown does not show the value: it may be a secret under a mistyped name.
func (w *fileWalk) unknown(name string, from origin, hint string) {
	w.problem(Problem{Key: strings.Trim(strconv.Quote(name), `"`), Message: "unknown key" + hint, at: from})
}

// nameAllProviders switches off the providers that a section [providers] does not name.
func (w *fileWalk) nameAllProviders(tree map[string]any) {
	named, ok := tree["providers"].(map[string]any)
	if !ok {
		return
	}
	for _, f := range w.fields {
		section, key, _ := strings.Cut(f.name, ".")
		if _, ok := named[key]; section == "providers" && !ok {
			w.values[f.name] = value{false, w.from("providers")}
		}
	}
}

// keyLines finds the line of every key and section of a document that is known to be well-formed.
func keyLines(data []byte) map[string]int {
	f := lineFinder{data: data, line: 1, lines: map[string]int{}}
	p := &unstable.Parser{}
	p.Reset(data)
	section := ""
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			section = f.key("", e) + "."
		case unstable.KeyValue:
			f.keyValue(section, e)
		}
	}
	return f.lines
}

// lineFinder counts the lines on its way through the document.
type lineFinder struct {
	data   []byte
	offset int
	line   int
	lines  map[string]int
}

func (f *lineFinder) keyValue(section string, e *unstable.Node) {
	name := f.key(section, e)
	if e.Value().Kind != unstable.InlineTable {
		return
	}
	for it := e.Value().Children(); it.Next(); {
		if it.Node().Kind == unstable.KeyValue {
			f.keyValue(name+".", it.Node())
		}
	}
}

// key notes the line of a possibly dotted key and of the sections that it implies, and returns its name.
func (f *lineFinder) key(section string, e *unstable.Node) string {
	name := strings.TrimSuffix(section, ".")
	for it := e.Key(); it.Next(); {
		if name != "" {
			name += "."
		}
		name += segment(string(it.Node().Data))
		if _, ok := f.lines[name]; !ok {
			f.lines[name] = f.lineAt(int(it.Node().Raw.Offset))
		}
	}
	return name
}

// lineAt expects offsets in the order of the document.
func (f *lineFinder) lineAt(offset int) int {
	f.line += bytes.Count(f.data[f.offset:offset], []byte("\n"))
	f.offset = offset
	return f.line
}
