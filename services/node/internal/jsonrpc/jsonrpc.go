// Package jsonrpc is the JSON-RPC 2.0 interface to contexts, free of any transport: POST /jsonrpc hands over bodies
// ([Handler.Handle]), a WebSocket single calls ([Handler.Call]).
//
// Beside the members of JSON-RPC 2.0 (https://www.jsonrpc.org/specification) every error has "type" and "data", which
// the clients of the reference node read. Requests have exactly one reading: a member that occurs twice is an error.
// Unknown members are ignored, as those of newer clients.
package jsonrpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"unicode/utf8"

	"github.com/calimero-network/mero-go/services/node/internal/alias"
	"github.com/calimero-network/mero-go/services/node/internal/contexts"
)

// MaxBatch is how many requests a batch may hold.
const MaxBatch = 50

// The codes of JSON-RPC 2.0, section 5.1.
const (
	codeParse         = -32700
	codeRequest       = -32600
	codeUnknownMethod = -32601
	codeParams        = -32602
	codeInternal      = -32603
)

// Error is the error of a response.
type Error struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Type    string `json:"type"`
	Data    any    `json:"data"` // never null: clients read into it
	// Logs are what the application logged before the call failed.
	Logs []string `json:"logs,omitempty"`
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

func parseError(code int, text string) *Error {
	return &Error{Code: code, Message: text, Type: "ParseError", Data: text}
}

// Class tells a transport what kind of answer it sends.
type Class int

// The classes.
const (
	Answered  Class = iota // the request was understood, whatever came of it
	Malformed              // the text is no JSON
	Invalid                // it is JSON and no request
)

// Handler answers requests. Its fields are set before its first use and not changed.
type Handler struct {
	Contexts *contexts.Manager
	Aliases  *alias.Service
	Log      *slog.Logger
}

// request is one call. Its id is null if it has none.
type request struct {
	id           json.RawMessage
	notification bool
	method       string
	params       json.RawMessage
}

type response struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  any             `json:"result,omitempty"`
	Error   *Error          `json:"error,omitempty"`
}

var null = json.RawMessage("null")

// Handle answers a text, which is a request or a batch of requests. Requests of a batch are served in their order. The
// answer is nil if there is nothing to answer, that is, for notifications alone. Rights are those of the caller of ctx.
func (h *Handler) Handle(ctx context.Context, text []byte) ([]byte, Class) {
	if !utf8.Valid(text) || !json.Valid(text) {
		return encode(response{ID: null, Error: parseError(codeParse, "the body is not JSON")}), Malformed
	}
	if text = bytes.TrimSpace(text); text[0] == '[' {
		return h.batch(ctx, text), Answered
	}
	res, class := h.one(ctx, text)
	if res == nil {
		return nil, class
	}
	return encode(res), class
}

func (h *Handler) batch(ctx context.Context, text []byte) []byte {
	var elements []json.RawMessage
	if err := json.Unmarshal(text, &elements); err != nil {
		return encode(response{ID: null, Error: parseError(codeParse, "the body is not JSON")})
	}
	switch n := len(elements); {
	case n == 0:
		return encode(response{ID: null, Error: parseError(codeRequest, "the batch is empty")})
	case n > MaxBatch:
		return encode(response{ID: null, Error: parseError(codeRequest, "a batch holds at most 50 requests")})
	}
	var answers []*response
	for _, e := range elements {
		if res, _ := h.one(ctx, e); res != nil {
			answers = append(answers, res)
		}
	}
	if answers == nil {
		return nil
	}
	return encode(answers)
}

// one answers a request, with nil if it is a notification.
func (h *Handler) one(ctx context.Context, text []byte) (*response, Class) {
	r, problem := parse(text)
	if problem != nil {
		return &response{ID: r.id, Error: problem}, Invalid
	}
	result, failed := h.Call(ctx, r.method, r.params)
	switch {
	case r.notification:
		return nil, Answered
	case failed != nil:
		return &response{ID: r.id, Error: failed}, Answered
	}
	return &response{ID: r.id, Result: result}, Answered
}

// Call runs a method: "execute" or "sync_status". The result is ready for encoding as JSON.
func (h *Handler) Call(ctx context.Context, method string, params json.RawMessage) (any, *Error) {
	var result any
	var err error
	switch method {
	case "execute":
		result, err = h.execute(ctx, params)
	case "sync_status":
		result, err = h.syncStatus(ctx, params)
	default:
		return nil, parseError(codeUnknownMethod, "unknown method "+quote(method))
	}
	if err != nil {
		return nil, h.describe(ctx, method, err)
	}
	return result, nil
}

// quote shows a foreign text in a message, cut.
func quote(s string) string {
	if len(s) > 64 {
		s = s[:64] + "..."
	}
	text, _ := json.Marshal(s) // a string
	return string(text)
}

// parse reads one request. With a problem, the id of the request is the one to answer with.
func parse(text []byte) (request, *Error) {
	r := request{id: null}
	fail := func(text string) (request, *Error) { return r, parseError(codeRequest, text) }
	m, err := members(text)
	if err != nil {
		return fail(err.Error())
	}
	id, there := m["id"]
	r.notification = !there
	if there {
		if !validID(id) {
			return fail("the id is neither text nor a whole number of 64 bits nor null")
		}
		r.id = id
	}
	if string(m["jsonrpc"]) != `"2.0"` {
		return fail(`member jsonrpc is not "2.0"`)
	}
	if raw := m["method"]; len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &r.method) != nil {
		return fail("member method is missing or no text")
	}
	r.params = m["params"]
	return r, nil
}

// validID accepts text, null and whole numbers of 64 bits without a sign. The text is valid JSON.
func validID(id json.RawMessage) bool {
	if string(id) == "null" || id[0] == '"' {
		return true
	}
	_, err := strconv.ParseUint(string(id), 10, 64)
	return err == nil
}

var (
	errObject = errors.New("not an object")
	errTwice  = errors.New("a member occurs twice")
)

// members returns the members of an object. The text is valid JSON.
func members(text []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errObject
	}
	m := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errObject
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, errObject
		}
		if _, twice := m[name]; twice {
			return nil, errTwice
		}
		m[name] = value
	}
	return m, nil
}

// encode writes an answer. What is in it can be encoded.
func encode(v any) []byte {
	switch v := v.(type) {
	case response:
		v.Version = "2.0"
		return marshal(v)
	case *response:
		v.Version = "2.0"
		return marshal(v)
	case []*response:
		for _, r := range v {
			r.Version = "2.0"
		}
	}
	return marshal(v)
}

func marshal(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // outputs stay as the application wrote them
	if err := e.Encode(v); err != nil {
		panic(err) // outputs were checked, all else is ours
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
