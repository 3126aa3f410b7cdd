package jsonrpc

import (
	"encoding/json"
	"strconv"

	"github.com/calimero-network/mero-go/pkg/strictjson"
)

// answerError says why an answer is not one of JSON-RPC 2.0 to our call. It repeats nothing of the answer.
type answerError struct{ why string }

func (e *answerError) Error() string { return e.why }

// decode reads a response object (JSON-RPC 2.0, section 5): the version, the id of the call, and a result or an
// error. Members are found by their exact names. A null result or error counts as absent, because servers write it
// beside the other one. The error is an *[Error] or an *answerError.
func decode(answer []byte, id uint64) (json.RawMessage, error) {
	members, err := Members(answer)
	if err != nil {
		return nil, &answerError{"the answer is no JSON object with one reading"}
	}
	if string(members["jsonrpc"]) != `"2.0"` {
		return nil, &answerError{"the answer is not of JSON-RPC 2.0"}
	}
	if string(members["id"]) != strconv.FormatUint(id, 10) {
		return nil, &answerError{"the answer is to another call"}
	}
	result, failure := unlessNull(members["result"]), unlessNull(members["error"])
	switch {
	case (result == nil) == (failure == nil):
		return nil, &answerError{"the answer has not exactly one of result and error"}
	case result != nil:
		return result, nil
	}
	object, err := Members(failure)
	if err != nil {
		return nil, &answerError{"the answer's error is no object"}
	}
	e := &Error{Object: failure}
	if n, err := strconv.ParseInt(string(object["code"]), 10, 64); err == nil {
		e.Code = n
	}
	return nil, e
}

func unlessNull(value json.RawMessage) json.RawMessage {
	if string(value) == "null" {
		return nil
	}
	return value
}

// Members returns the members of a JSON object that has one reading, by their exact names. What is no such object is
// an error.
func Members(data json.RawMessage) (map[string]json.RawMessage, error) {
	if err := strictjson.Check(data); err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, err
	}
	if members == nil {
		return nil, &answerError{"null is no object"}
	}
	return members, nil
}

// Text returns the text of a JSON string; false for every other value.
func Text(value json.RawMessage) (string, bool) {
	var text *string
	if err := json.Unmarshal(value, &text); err != nil || text == nil {
		return "", false
	}
	return *text, true
}
