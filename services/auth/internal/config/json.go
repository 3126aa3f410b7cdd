package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// jsonTree reads a JSON document as the TOML parser would read its translation: whole numbers are int64. It has one reading or
// is an error: no member occurs twice, nothing comes behind it. lines has the line of every member, by its name.
func jsonTree(data []byte) (tree map[string]any, lines map[string]int, err error) {
	r := jsonReader{decoder: json.NewDecoder(bytes.NewReader(data)), data: data, lines: map[string]int{}}
	r.decoder.UseNumber()
	if !utf8.Valid(data) {
		return nil, nil, r.mistake("it is not UTF-8")
	}
	v, err := r.value("", 0)
	if err != nil {
		return nil, nil, err
	}
	tree, is := v.(map[string]any)
	if !is {
		return nil, nil, r.mistake("it is not an object")
	}
	if _, err := r.decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, nil, r.mistake("something comes behind the object")
	}
	return tree, r.lines, nil
}

// maxJSONDepth bounds how deep values are nested; settings are three deep.
const maxJSONDepth = 16

type jsonReader struct {
	decoder *json.Decoder
	data    []byte
	lines   map[string]int
}

// jsonError is a mistake in the document. Its text never quotes it.
type jsonError struct {
	text         string
	line, column int
}

func (e *jsonError) Error() string { return e.text }

// Position returns where the mistake was noticed.
func (e *jsonError) Position() (row, column int) { return e.line, e.column }

// mistake is one just before where the reader is.
func (r *jsonReader) mistake(text string) error { return r.at(r.decoder.InputOffset(), text) }

func (r *jsonReader) at(offset int64, text string) error {
	before := r.data[:min(offset, int64(len(r.data)))]
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return &jsonError{text: text, line: 1 + bytes.Count(before, []byte("\n")), column: column}
}

func (r *jsonReader) line() int {
	return 1 + bytes.Count(r.data[:r.decoder.InputOffset()], []byte("\n"))
}

func (r *jsonReader) token() (json.Token, error) {
	t, err := r.decoder.Token()
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return nil, r.at(syntax.Offset, "there is a mistake in the syntax")
	case err != nil:
		return nil, r.mistake("it ends too early")
	}
	return t, nil
}

// value reads the value of the member name.
func (r *jsonReader) value(name string, depth int) (any, error) {
	if depth > maxJSONDepth {
		return nil, r.mistake("it is nested too deeply")
	}
	t, err := r.token()
	if err != nil {
		return nil, err
	}
	switch v := t.(type) {
	case json.Delim:
		if v == '[' {
			return r.list(name, depth)
		}
		return r.object(name, depth)
	case json.Number:
		return r.number(v)
	case string:
		if strings.ContainsRune(v, utf8.RuneError) { // the reader puts it for half a surrogate pair
			return nil, r.mistake("there is a text with half a character")
		}
	case nil:
		return nil, r.mistake("there is a null: leave the member out instead")
	}
	return t, nil // a text or a truth value
}

func (r *jsonReader) list(name string, depth int) (any, error) {
	all := []any{}
	for r.decoder.More() {
		v, err := r.value(name, depth+1)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	_, err := r.token()
	return all, err
}

func (r *jsonReader) object(name string, depth int) (any, error) {
	all := map[string]any{}
	for r.decoder.More() {
		t, err := r.token()
		if err != nil {
			return nil, err
		}
		part, is := t.(string)
		if !is {
			return nil, r.mistake("there is a mistake in the syntax")
		}
		full := strings.TrimPrefix(name+"."+segment(part), ".")
		if _, known := r.lines[full]; !known {
			r.lines[full] = r.line()
		}
		if _, twice := all[part]; twice {
			return nil, r.mistake("a member occurs twice")
		}
		if all[part], err = r.value(full, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := r.token()
	return all, err
}

func (r *jsonReader) number(text json.Number) (any, error) {
	if n, err := text.Int64(); err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(text.String(), 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, r.mistake("there is a number that is too large")
	}
	return f, nil
}
