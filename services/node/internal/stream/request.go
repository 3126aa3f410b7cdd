package stream

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/calimero-network/mero-go/services/node/internal/event"
	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// The methods of requests.
const (
	methodSubscribe   = "subscribe"
	methodUnsubscribe = "unsubscribe"
	methodExecute     = "execute"
)

// maxRequestID is the length of the longest request id in bytes, as JSON.
const maxRequestID = 256

// request is what a WebSocket client sends.
type request struct {
	id     json.RawMessage // echoed as it came; null if there is none
	method string
	params json.RawMessage
}

// failure is an error of an answer, in the form that JSON-RPC uses here too.
type failure struct {
	Type string `json:"type"`
	Data any    `json:"data"`
}

func parseError(format string, args ...any) failure {
	return failure{"ParseError", fmt.Sprintf(format, args...)}
}

var null = json.RawMessage("null")

// parseRequest reads a message. ok is false for what is no JSON object, which is ignored; an error is for the client.
func parseRequest(text []byte) (r request, ok bool, err error) {
	var raw struct {
		ID     json.RawMessage `json:"id"`
		Method json.RawMessage `json:"method"`
		Params json.RawMessage `json:"params"`
	}
	// Not bytes.TrimSpace: Unicode has more kinds of space than JSON (RFC 8259 section 2).
	if begin := bytes.TrimLeft(text, " \t\r\n"); len(begin) == 0 || begin[0] != '{' || !json.Valid(text) {
		return request{}, false, nil
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return request{}, true, err
	}
	r = request{id: null, params: raw.Params}
	if !validRequestID(raw.ID) {
		return r, true, errors.New("invalid id: want a whole number, a string or null")
	}
	if raw.ID != nil {
		r.id = raw.ID
	}
	if err := json.Unmarshal(raw.Method, &r.method); err != nil || r.method == "" {
		return r, true, errors.New("missing method")
	}
	return r, true, nil
}

func validRequestID(text json.RawMessage) bool {
	if len(text) > maxRequestID {
		return false
	}
	if len(text) == 0 || text[0] == '"' || bytes.Equal(text, null) {
		return true
	}
	_, err := strconv.ParseUint(string(text), 10, 64)
	return err == nil
}

// selection is the params of subscribe and unsubscribe.
type selection struct {
	Contexts []id.ID   `json:"contextIds"`
	Groups   []groupID `json:"groupIds"`
}

// groupID is a group's id, in hex.
type groupID id.ID

// MarshalText returns the lower-case form.
func (g groupID) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(g[:])), nil }

// UnmarshalText reads 64 hexadecimal digits.
func (g *groupID) UnmarshalText(text []byte) error {
	if hex.DecodedLen(len(text)) != id.Size || len(text)%2 != 0 {
		return errors.New("invalid group id: want 64 hexadecimal digits")
	}
	if _, err := hex.Decode(g[:], text); err != nil {
		return errors.New("invalid group id: want 64 hexadecimal digits")
	}
	return nil
}

// parseSelection reads params. Both lists may be absent.
func parseSelection(params json.RawMessage) (selection, error) {
	s := selection{Contexts: []id.ID{}}
	if len(params) == 0 || params[0] != '{' {
		return s, errors.New("missing params: want contextIds or groupIds")
	}
	switch err := json.Unmarshal(params, &s); {
	case errors.Is(err, id.ErrInvalid):
		return s, errors.New("invalid context id: want the base58 form of 32 bytes")
	case err != nil:
		return s, err
	}
	if s.Contexts == nil {
		s.Contexts = []id.ID{}
	}
	return s, nil
}

func (s selection) topics() []event.Topic {
	out := make([]event.Topic, 0, len(s.Contexts)+len(s.Groups))
	for _, c := range s.Contexts {
		out = append(out, event.OfContext(c))
	}
	for _, g := range s.Groups {
		out = append(out, event.OfGroup(id.ID(g)))
	}
	return out
}
