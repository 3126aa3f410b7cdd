package permission

import (
	"fmt"
	"slices"
	"strings"
)

// SyntaxError says where and why a string is not a permission.
type SyntaxError struct {
	Input   string // the whole string
	Offset  int    // the byte at which it goes wrong
	Problem string // what is wrong there
}

// Error returns the problem with its place; the input is quoted and cut to a sensible length.
func (e *SyntaxError) Error() string {
	shown := e.Input
	if len(shown) > MaxLength {
		shown = shown[:MaxLength]
	}
	return fmt.Sprintf("permission %q: byte %d: %s", shown, e.Offset, e.Problem)
}

// Parse reads either spelling. Nothing is trimmed, folded or ignored: whatever is not exactly a permission is a
// [*SyntaxError].
func Parse(s string) (Permission, error) {
	fail := func(offset int, format string, args ...any) (Permission, error) {
		return Permission{}, &SyntaxError{Input: s, Offset: offset, Problem: fmt.Sprintf(format, args...)}
	}
	switch {
	case s == "":
		return fail(0, "empty")
	case len(s) > MaxLength:
		return fail(MaxLength, "longer than %d bytes", MaxLength)
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return fail(i, "byte %#02x is not allowed", s[i])
		}
	}
	if open := strings.IndexByte(s, '['); open >= 0 {
		return parseBracket(s, open)
	}
	return parseLong(s)
}

// MustParse is [Parse] for constants in code; it panics on an error.
func MustParse(s string) Permission {
	p, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return p
}

// Binding returns context[context,identity], or context[context] when identity is empty. Unlike the language it
// accepts ids only, no *: what a client sends as an id must not come to mean "any".
func Binding(context, identity string) (Permission, error) {
	if !validID(context) {
		return Permission{}, fmt.Errorf("permission: %q is not a context id", cut(context))
	}
	if identity != "" && !validID(identity) {
		return Permission{}, fmt.Errorf("permission: %q is not an identity", cut(identity))
	}
	return Permission{action: contextBinding, id: context, user: identity}, nil
}

// cut keeps foreign text in errors short.
func cut(s string) string { return s[:min(len(s), MaxID)] }

// parseBracket reads words[fields], where s[open] is the first '['.
func parseBracket(s string, open int) (Permission, error) {
	fail := func(offset int, problem string) (Permission, error) {
		return Permission{}, &SyntaxError{Input: s, Offset: offset, Problem: problem}
	}
	end := strings.IndexByte(s, ']')
	switch {
	case end < 0:
		return fail(len(s), "missing ]")
	case end < open:
		return fail(end, "] without [")
	case end != len(s)-1:
		return fail(end+1, "text after ]")
	case end == open+1:
		return fail(end, "empty brackets; leave them out for any")
	}

	words, fields := s[:open], s[open+1:end]
	a, isBinding := bindingAction(words)
	if !isBinding {
		var ok bool
		if a, ok = spellings[words]; !ok {
			return Permission{}, unknownWord(s, words)
		}
		if !strings.Contains(words, ":") || table[a].fields == fieldsNone {
			return fail(open, words+" takes no id")
		}
	}

	p := Permission{action: a}
	targets := [...]*string{&p.id, &p.user, &p.method}
	offset := open + 1
	for n := 0; ; n++ {
		field, rest, more := strings.Cut(fields, ",")
		if n == table[a].fields {
			return fail(offset, fmt.Sprintf("too many fields, %s takes %d", words, n))
		}
		switch {
		case field == "" || field == "*":
			if n == 0 && isBinding {
				return fail(offset, "a binding names its object")
			}
		case !validID(field):
			return fail(offset+max(badIDByte(field), 0), badID)
		default:
			*targets[n] = field
		}
		if !more {
			return p, nil
		}
		offset += len(field) + 1
		fields = rest
	}
}

// badID is the problem of every malformed id, user or method.
var badID = fmt.Sprintf("ids are 1 to %d bytes of A-Z a-z 0-9 . _ ~ -", MaxID)

// parseLong reads words, words:global and words:specific:ID.
func parseLong(s string) (Permission, error) {
	if a, ok := spellings[s]; ok {
		return Permission{action: a}, nil
	}
	fail := func(offset int, problem string) (Permission, error) {
		return Permission{}, &SyntaxError{Input: s, Offset: offset, Problem: problem}
	}
	if words, ok := strings.CutSuffix(s, ":global"); ok && strings.Contains(words, ":") {
		if a, ok := spellings[words]; ok {
			return Permission{action: a}, nil
		}
	}
	words, id, ok := strings.Cut(s, ":specific:")
	if !ok {
		return Permission{}, unknownWord(s, s)
	}
	a, known := spellings[words]
	at := len(words) + len(":specific:")
	switch {
	case !known:
		return Permission{}, unknownWord(s, words)
	case !strings.Contains(words, ":") || table[a].fields == fieldsNone:
		return fail(len(words), words+" takes no id")
	case id == "global":
		return fail(at, "specific:global contradicts itself")
	case !validID(id):
		return fail(at+max(badIDByte(id), 0), badID)
	}
	return Permission{action: a, id: id}, nil
}

// bindingAction returns the kind of binding that words in front of brackets spell.
func bindingAction(words string) (action, bool) {
	for _, a := range [...]action{contextBinding, applicationBinding} {
		if words == table[a].words {
			return a, true
		}
	}
	return none, false
}

// unknownWord explains which word of words, a prefix of s, no permission has at that place.
func unknownWord(s, words string) *SyntaxError {
	e := &SyntaxError{Input: s}
	if words == table[applicationBinding].words {
		e.Offset, e.Problem = len(words), "a binding names its object in brackets"
		return e
	}
	parts := strings.Split(words, ":")
	for i, word := range parts {
		switch prefix := strings.Join(parts[:i+1], ":"); {
		case word == "":
			e.Problem = "empty word"
		case i == 0 && !slices.Contains(resources(), word):
			e.Problem = fmt.Sprintf("unknown resource %q", word)
		case !startsPermission(prefix):
			e.Problem = fmt.Sprintf("unknown word %q after %q", word, strings.Join(parts[:i], ":"))
		default:
			e.Offset += len(word) + 1
			continue
		}
		return e
	}
	e.Offset, e.Problem = len(words), "a word is missing after "+words
	return e
}

// startsPermission reports whether some permission consists of prefix or continues it with another word.
func startsPermission(prefix string) bool {
	for spelling := range spellings {
		if spelling == prefix || strings.HasPrefix(spelling, prefix+":") {
			return true
		}
	}
	return false
}
