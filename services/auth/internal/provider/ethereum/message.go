package ethereum

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// maxMessage is the size limit of a signed message in bytes: a wallet shows a person a few hundred.
const maxMessage = 4 << 10

// The fixed text of EIP-4361, in the order of the grammar.
const (
	preamble       = " wants you to sign in with your Ethereum account:"
	labelURI       = "URI: "
	labelVersion   = "Version: "
	labelChainID   = "Chain ID: "
	labelNonce     = "Nonce: "
	labelIssuedAt  = "Issued At: "
	labelExpires   = "Expiration Time: "
	labelNotBefore = "Not Before: "
	labelRequestID = "Request ID: "
	labelResources = "Resources:"
	labelResource  = "- "

	version = "1"
)

// message is an EIP-4361 message that conforms to the grammar. Whether it is meant for us is not its business.
type message struct {
	scheme    string // "" when absent
	domain    string
	account   string // as written
	address   address
	statement string // "" when absent: the grammar has no empty one
	uri       string
	chainID   uint64
	nonce     string
	issuedAt  moment
	expires   moment // without text when absent
	notBefore moment // without text when absent
	requestID *string
	resources []string // nil when absent; an empty list is grammatical
}

// moment is a time with the spelling it had.
type moment struct {
	time.Time
	text string
}

// parseMessage reads text by the grammar of EIP-4361, by position and not by search: what looks like a field
// inside the statement is statement. Errors name the line and repeat nothing of the input.
func parseMessage(text string) (message, error) {
	if len(text) > maxMessage {
		return message{}, fmt.Errorf("the message is longer than %d bytes", maxMessage)
	}
	r := &lineReader{lines: strings.Split(text, "\n")}
	for i, line := range r.lines {
		for j := range len(line) {
			if c := line[j]; c < ' ' || c > '~' {
				return message{}, fmt.Errorf("line %d: byte 0x%02x is not allowed (lines end in LF, text is ASCII)", i+1, c)
			}
		}
	}
	var m message
	for _, part := range []func(*lineReader) error{m.readHead, m.readRequired, m.readOptional} {
		if err := part(r); err != nil {
			return message{}, err
		}
	}
	if m.String() != text {
		return message{}, errors.New("the message is not in the canonical form of EIP-4361")
	}
	return m, nil
}

func (m *message) readHead(r *lineReader) error {
	origin, ok := strings.CutSuffix(r.next(), preamble)
	if !ok {
		return r.errorf("must end in %q", preamble)
	}
	m.domain = origin
	if scheme, rest, ok := strings.Cut(origin, "://"); ok {
		if !isScheme(scheme) {
			return r.errorf("the scheme before :// is malformed")
		}
		m.scheme, m.domain = scheme, rest
	}
	if !isAuthority(m.domain) {
		return r.errorf("the domain must be a host, or host:port, without user information")
	}
	m.account = r.next()
	var err error
	if m.address, err = parseAddress(m.account); err != nil {
		return r.errorf("%w", err)
	}
	if r.next() != "" {
		return r.errorf("must be empty")
	}
	// Without a statement there are two empty lines.
	if m.statement = r.next(); m.statement == "" {
		return nil
	}
	if !isStatement(m.statement) {
		return r.errorf("must be empty, or a statement of the characters that EIP-4361 allows")
	}
	if r.next() != "" {
		return r.errorf("must be empty, after the statement")
	}
	return nil
}

func (m *message) readRequired(r *lineReader) error {
	var ok bool
	if m.uri, ok = r.field(labelURI); !ok || !isURI(m.uri) {
		return r.errorf("must be %q and an absolute URI", labelURI)
	}
	if v, ok := r.field(labelVersion); !ok || v != version {
		return r.errorf("must be %q", labelVersion+version)
	}
	id, ok := r.field(labelChainID)
	chainID, valid := parseChainID(id)
	if !ok || !valid {
		return r.errorf("must be %q and a decimal number", labelChainID)
	}
	m.chainID = chainID
	if m.nonce, ok = r.field(labelNonce); !ok || !isNonce(m.nonce) {
		return r.errorf("must be %q and at least 8 letters and digits", labelNonce)
	}
	return r.moment(labelIssuedAt, &m.issuedAt)
}

func (m *message) readOptional(r *lineReader) error {
	if r.at(labelExpires) {
		if err := r.moment(labelExpires, &m.expires); err != nil {
			return err
		}
	}
	if r.at(labelNotBefore) {
		if err := r.moment(labelNotBefore, &m.notBefore); err != nil {
			return err
		}
	}
	if r.at(labelRequestID) {
		id, _ := r.field(labelRequestID)
		if !isRequestID(id) {
			return r.errorf("the request id has a character that EIP-4361 does not allow")
		}
		m.requestID = &id
	}
	if r.more() && r.lines[r.read] == labelResources {
		r.next()
		m.resources = []string{}
		for r.more() {
			resource, ok := r.field(labelResource)
			if !ok || !isURI(resource) {
				return r.errorf("must be %q and an absolute URI", labelResource)
			}
			m.resources = append(m.resources, resource)
		}
	}
	if r.more() {
		r.next()
		return r.errorf("is not expected here (fields have a fixed order and occur once; nothing follows the last)")
	}
	return nil
}

// String writes the message as it was signed.
func (m message) String() string {
	var b strings.Builder
	if m.scheme != "" {
		b.WriteString(m.scheme + "://")
	}
	b.WriteString(m.domain + preamble + "\n" + m.account + "\n\n")
	if m.statement != "" {
		b.WriteString(m.statement + "\n")
	}
	b.WriteString("\n" + labelURI + m.uri + "\n" + labelVersion + version +
		"\n" + labelChainID + strconv.FormatUint(m.chainID, 10) +
		"\n" + labelNonce + m.nonce + "\n" + labelIssuedAt + m.issuedAt.text)
	if m.expires.text != "" {
		b.WriteString("\n" + labelExpires + m.expires.text)
	}
	if m.notBefore.text != "" {
		b.WriteString("\n" + labelNotBefore + m.notBefore.text)
	}
	if m.requestID != nil {
		b.WriteString("\n" + labelRequestID + *m.requestID)
	}
	if m.resources != nil {
		b.WriteString("\n" + labelResources)
		for _, resource := range m.resources {
			b.WriteString("\n" + labelResource + resource)
		}
	}
	return b.String()
}

// lineReader hands out the lines of a message in order. Its errors name the line that was read last.
type lineReader struct {
	lines []string
	read  int // how many lines were handed out, at least; past the end it still counts
}

func (r *lineReader) more() bool { return r.read < len(r.lines) }

// at reports whether the next line begins with label.
func (r *lineReader) at(label string) bool {
	return r.more() && strings.HasPrefix(r.lines[r.read], label)
}

// next returns the next line, or a text that no rule accepts when there is none.
func (r *lineReader) next() string {
	line := "\x00"
	if r.more() {
		line = r.lines[r.read]
	}
	r.read++
	return line
}

// field returns the rest of the next line, which must begin with label.
func (r *lineReader) field(label string) (string, bool) {
	return strings.CutPrefix(r.next(), label)
}

// moment reads the next line, label and a date-time, into place.
func (r *lineReader) moment(label string, place *moment) error {
	text, ok := r.field(label)
	t, valid := parseDateTime(text)
	if !ok || !valid {
		return r.errorf("must be %q and a date-time of RFC 3339", label)
	}
	*place = moment{Time: t, text: text}
	return nil
}

func (r *lineReader) errorf(format string, args ...any) error {
	return fmt.Errorf("line %d: "+format, append([]any{r.read}, args...)...)
}
