package jsonrpc

import "encoding/json"

// Members reads the members of an object of valid JSON.
func Members(text []byte) (map[string]json.RawMessage, error) { return members(text) }
