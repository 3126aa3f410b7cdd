package permission

import (
	"errors"
	"fmt"
	"strings"
)

// The errors of [Validate] besides [*SyntaxError].
var (
	ErrTooMany = errors.New("permission: too many permissions")
	ErrTooLong = errors.New("permission: the list is too long")
)

// Validate checks a list before it is stored: at most [MaxCount] strings, each of which parses, together at most
// [MaxJoined] bytes. It names every string that does not parse. An empty list is valid.
func Validate(list []string) error {
	if len(list) > MaxCount {
		return fmt.Errorf("%w: %d, the limit is %d", ErrTooMany, len(list), MaxCount)
	}
	var errs []error
	joined := len(list) - 1
	for i, s := range list {
		joined += len(s)
		if _, err := Parse(s); err != nil {
			errs = append(errs, fmt.Errorf("permissions[%d]: %w", i, err))
		}
	}
	if joined > MaxJoined {
		errs = append(errs, fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLong, joined, MaxJoined))
	}
	return errors.Join(errs...)
}

// Join writes a list as the value of X-Auth-Permissions, separated by commas. Strings that do not parse are left
// out, since a comma or bracket in one could come back as a grant; a malformed binding is written as one that
// nothing satisfies (see the package comment).
func Join(list []string) string {
	var b strings.Builder
	for _, s := range list {
		if _, text, ok := read(s); ok {
			if b.Len() > 0 {
				b.WriteByte(',')
			}
			b.WriteString(text)
		}
	}
	return b.String()
}

// Split undoes [Join]: it cuts s at the commas outside brackets. An empty s gives nil. It judges nothing; what
// does not parse is for [NewSet] and [Effective] to deal with.
func Split(s string) []string {
	if s == "" {
		return nil
	}
	list := make([]string, 0, strings.Count(s, ",")+1)
	start, inside := 0, false
	for i := range len(s) {
		switch s[i] {
		case '[':
			inside = true
		case ']':
			inside = false
		case ',':
			if !inside {
				list = append(list, s[start:i])
				start = i + 1
			}
		}
	}
	return append(list, s[start:])
}

// noObject is the id of a binding that nothing satisfies: no id contains it, and it does not parse, so that
// it is read as such a binding again.
const noObject = "!"

// read is Parse for lists that were stored or came from elsewhere. text is what may be written out again: s
// itself, or the unsatisfiable binding in place of a malformed one. ok is false for strings that mean nothing.
func read(s string) (p Permission, text string, ok bool) {
	p, err := Parse(s)
	if err == nil {
		return p, s, true
	}
	words, _, brackets := strings.Cut(s, "[")
	if !brackets {
		return Permission{}, "", false
	}
	// Case and blanks are forgiven here because forgiving them narrows.
	a, isBinding := bindingAction(strings.ToLower(strings.TrimSpace(words)))
	if !isBinding || s == table[a].words+"[*]" {
		return Permission{}, "", false
	}
	p = Permission{action: a, id: noObject}
	return p, p.String(), true
}
