package store

import (
	"encoding/json"
	"fmt"
)

// Decisions that find nothing in the cache read three records each, and encoding/json would take most of their time. So
// the records of the live view are scanned in the one form in which this package writes them; whatever looks any
// different is left to encoding/json. Both readings agree, which a fuzz test holds them to.

// scan is a position in a record. Its methods advance it; after the first thing that is not in the expected form, odd is
// set and nothing that was read counts.
type scan struct {
	rest []byte
	odd  bool
}

// start reads the opening brace. After it, next and the value of each member are read in turns.
func start(raw []byte) scan {
	s := scan{rest: raw}
	s.expect('{')
	return s
}

// next reads the name of a member, first for the first one, and reports false after the last.
func (s *scan) next(first bool) (name []byte, more bool) {
	if !first {
		if s.accept('}') {
			s.odd = s.odd || len(s.rest) > 0
			return nil, false
		}
		s.expect(',')
	}
	name = s.text()
	s.expect(':')
	s.odd = s.odd || !plain(name)
	return name, !s.odd
}

// plain reports whether a member's name is spelled as ours are; encoding/json also takes other cases of a letter.
func plain(name []byte) bool {
	for _, c := range name {
		if (c < 'a' || c > 'z') && c != '_' {
			return false
		}
	}
	return len(name) > 0
}

func (s *scan) accept(c byte) bool {
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

func (s *scan) expect(c byte) { s.odd = !s.accept(c) || s.odd }

// text reads a string of printable ASCII without escapes.
func (s *scan) text() []byte {
	s.expect('"')
	for i, c := range s.rest {
		switch {
		case c == '"':
			value := s.rest[:i]
			s.rest = s.rest[i+1:]
			return value
		case c == '\\' || c < ' ' || c >= 0x7f:
			s.odd = true
			return nil
		}
	}
	s.odd = true
	return nil
}

// number reads an integer of up to 18 digits without sign or leading zero.
func (s *scan) number() (n int64) {
	i := 0
	for i < len(s.rest) && i <= 18 && s.rest[i] >= '0' && s.rest[i] <= '9' {
		n = n*10 + int64(s.rest[i]-'0')
		i++
	}
	s.odd = s.odd || i == 0 || i > 18 || i > 1 && s.rest[0] == '0'
	s.rest = s.rest[i:]
	return n
}

// texts reads an array of strings, at least one.
func (s *scan) texts() []string {
	all := make([]string, 0, 4)
	s.expect('[')
	for !s.odd {
		all = append(all, string(s.text()))
		if s.accept(']') {
			return all
		}
		s.expect(',')
	}
	return nil
}

// skip reads the value of a member that is not wanted: a string, a number, true, or an object or array of such.
func (s *scan) skip() {
	switch c := s.peek(); c {
	case '{', '[':
		s.rest = s.rest[1:]
		for !s.odd {
			if c == '{' {
				s.text()
				s.expect(':')
			}
			if inner := s.peek(); inner == '[' && c == '{' {
				s.skip() // the permissions of a generation; nothing lies deeper
			} else {
				s.scalar()
			}
			if s.accept(c + 2) { // the closing brace or bracket
				return
			}
			s.expect(',')
		}
	default:
		s.scalar()
	}
}

func (s *scan) scalar() {
	switch s.peek() {
	case '"':
		s.text()
	case 't':
		s.yes()
	default:
		s.number()
	}
}

// yes reads true; false is never written.
func (s *scan) yes() bool {
	const word = "true"
	if len(s.rest) < len(word) || string(s.rest[:len(word)]) != word {
		s.odd = true
		return false
	}
	s.rest = s.rest[len(word):]
	return true
}

// peek returns the next byte, 0 at the end.
func (s *scan) peek() byte {
	if len(s.rest) == 0 {
		return 0
	}
	return s.rest[0]
}

// readFamily is what decisions need of the record of a family.
type readFamily struct {
	Key       string `json:"key"`
	Revoked   int64  `json:"revoked_at"`
	Created   int64  `json:"created"`
	Refreshed int64  `json:"last_refresh"`
	Machine   bool   `json:"machine"`
}

func decodeLiveFamily(raw []byte) (readFamily, error) {
	var f readFamily
	s := start(raw)
	for name, more := s.next(true); more; name, more = s.next(false) {
		switch string(name) {
		case "key":
			f.Key = string(s.text())
		case "revoked_at":
			f.Revoked = s.number()
		case "created":
			f.Created = s.number()
		case "last_refresh":
			f.Refreshed = s.number()
		case "machine":
			f.Machine = s.yes()
		default:
			s.skip()
		}
	}
	if !s.odd {
		return f, nil
	}
	var slow readFamily
	err := slowly(raw, &slow)
	return slow, err
}

func decodeLiveKey(raw []byte) (*LiveKey, error) {
	k := new(LiveKey)
	s := start(raw)
	for name, more := s.next(true); more; name, more = s.next(false) {
		switch string(name) {
		case "key_type":
			k.Type = keyType(s.text())
		case "root_key_id":
			k.RootKeyID = string(s.text())
		case "revoked_at":
			k.Revoked = s.number()
		case "expires_at":
			k.ExpiresAt = s.number()
		default:
			s.skip()
		}
	}
	if !s.odd {
		return k, nil
	}
	k = new(LiveKey)
	return k, slowly(raw, k)
}

// keyType saves the copy of a known type's text.
func keyType(text []byte) KeyType {
	switch {
	case string(text) == string(Client):
		return Client
	case string(text) == string(Root):
		return Root
	}
	return KeyType(text)
}

func decodePermissions(raw []byte) ([]string, error) {
	var list []string
	s := start(raw)
	for name, more := s.next(true); more; name, more = s.next(false) {
		if string(name) == "permissions" {
			list = s.texts()
		} else {
			s.skip()
		}
	}
	if !s.odd {
		return list, nil
	}
	var r struct{ Permissions []string }
	err := slowly(raw, &r)
	return r.Permissions, err
}

func slowly(raw []byte, into any) error {
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	return nil
}
