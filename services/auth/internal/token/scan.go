package token

// scanner reads one flat JSON object (RFC 8259) whose members are strings, whole numbers of seconds and lists of
// strings. It is stricter than the RFC, and than encoding/json in every way that has ever let two readers see
// different values: each name must be one of names, exactly, and occurs once; an escape in a string is refused
// (so there are no lone surrogates and no two spellings of a name); a number is plain digits; nothing may follow the
// object. Values are substrings of text: nothing is copied.
//
// The first problem is kept in fault and stops the reading.
type scanner struct {
	text  string
	names []string // members that may occur, at most 64
	seen  uint64   // bit i: names[i] has occurred
	pos   int
	fault string // detail for the log; "" while all is well
}

// next moves to the value of the next member and returns the member's index in names. It returns false at the
// end of the object and after a fault.
func (s *scanner) next() (member int, ok bool) {
	if s.fault != "" {
		return 0, false
	}
	if s.pos == 0 {
		if !s.take('{') {
			return s.fail("not a JSON object")
		}
		if s.take('}') {
			return s.end()
		}
	} else {
		if s.take('}') {
			return s.end()
		}
		if !s.take(',') {
			return s.fail("malformed JSON")
		}
	}
	name := s.str()
	if !s.take(':') {
		return s.fail("malformed JSON")
	}
	for i, known := range s.names {
		if name != known {
			continue
		}
		if s.seen&(1<<i) != 0 {
			return s.fail("duplicate member")
		}
		s.seen |= 1 << i
		return i, true
	}
	return s.fail("unknown member")
}

// end closes the object.
func (s *scanner) end() (member int, ok bool) {
	s.blank()
	if s.pos != len(s.text) {
		return s.fail("data after the JSON object")
	}
	return 0, false
}

// fail keeps the first fault. Its results fit next.
func (s *scanner) fail(detail string) (member int, ok bool) {
	if s.fault == "" {
		s.fault = detail
	}
	return 0, false
}

// str reads a string. Bytes above ASCII pass as they are: invalid UTF-8 is for the member's grammar to refuse, and
// every member either has an ASCII grammar or must equal a known string.
func (s *scanner) str() string {
	if !s.take('"') {
		s.fail("not a string")
		return ""
	}
	for start := s.pos; s.pos < len(s.text); s.pos++ {
		switch c := s.text[s.pos]; {
		case c == '"':
			s.pos++
			return s.text[start : s.pos-1]
		case c == '\\' || c < ' ':
			s.fail("escape or control character in a string")
			return ""
		}
	}
	s.fail("unterminated string")
	return ""
}

// seconds reads a whole number between 0 and maxTime, in digits alone.
func (s *scanner) seconds() int64 {
	s.blank()
	start := s.pos
	var n int64
	for ; s.pos < len(s.text) && s.text[s.pos] >= '0' && s.text[s.pos] <= '9'; s.pos++ {
		n = n*10 + int64(s.text[s.pos]-'0')
		if n > maxTime {
			s.fail("time out of range")
			return 0
		}
	}
	digits := s.pos - start
	if digits == 0 || digits > 1 && s.text[start] == '0' {
		s.fail("time is not a whole number of seconds")
		return 0
	}
	return n
}

// list reads a list of strings. It is empty, not nil, for [].
func (s *scanner) list() []string {
	list := make([]string, 0, 8) // most keys hold fewer
	if !s.take('[') {
		s.fail("not a list")
		return nil
	}
	if s.take(']') {
		return list
	}
	for s.fault == "" {
		list = append(list, s.str())
		if s.take(']') {
			return list
		}
		if !s.take(',') {
			s.fail("malformed JSON")
		}
	}
	return nil
}

// take skips white space and, if c follows, c.
func (s *scanner) take(c byte) bool {
	s.blank()
	if s.pos == len(s.text) || s.text[s.pos] != c {
		return false
	}
	s.pos++
	return true
}

func (s *scanner) blank() {
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return
		}
	}
}
