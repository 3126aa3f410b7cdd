package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/strictjson"
	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// readBody reads a body of up to limit bytes.
func readBody(c *call, limit int64) ([]byte, error) {
	return io.ReadAll(http.MaxBytesReader(c.Response(), c.Request().Body, limit))
}

// readJSON decodes a body of up to limit bytes into a struct. Members that the struct does not have are ignored.
func readJSON(c *call, limit int64, v any) error {
	text, err := readBody(c, limit)
	if err != nil {
		return err
	}
	return decodeJSON(text, v)
}

// readOptional is readJSON for a body that may be absent or null.
func readOptional(c *call, v any) error {
	text, err := readBody(c, maxBody)
	if err != nil {
		return err
	}
	if text = bytes.TrimSpace(text); len(text) == 0 || string(text) == "null" {
		return nil
	}
	return decodeJSON(text, v)
}

// decodeJSON says what is wrong in the words of the reference.
func decodeJSON(text []byte, v any) error {
	err := strictjson.Unmarshal(text, v)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, strictjson.ErrSyntax):
		return fault.Wrap(err, fault.Invalid, "JSON syntax error: "+err.Error())
	}
	return fault.Wrap(err, fault.Invalid, "Invalid JSON data: "+err.Error())
}

// numbers is a byte string that clients write as an array of numbers.
type numbers []byte

// UnmarshalJSON implements json.Unmarshaler.
func (n *numbers) UnmarshalJSON(text []byte) error {
	var list []uint16 // encoding/json would read base64 into a slice of bytes
	if err := json.Unmarshal(text, &list); err != nil {
		return errors.New("must be an array of numbers from 0 to 255")
	}
	*n = make(numbers, len(list))
	for i, v := range list {
		if v > 255 {
			return errors.New("must be an array of numbers from 0 to 255")
		}
		(*n)[i] = byte(v)
	}
	return nil
}

// parseID reads an id. The error names what it was to be.
func parseID(text, what string) (id.ID, error) {
	v, err := id.Parse(text)
	if err != nil {
		return id.ID{}, fault.Wrap(err, fault.Invalid, "Invalid "+what)
	}
	return v, nil
}

// parseActor reads the key of the identity that a request names to act as; the zero id stands for none, so nobody may
// name that.
func parseActor(text *string, what string) (id.ID, error) {
	if text == nil || *text == "" {
		return id.ID{}, nil
	}
	key, err := parseID(*text, what)
	if err == nil && key == (id.ID{}) {
		err = fault.New(fault.Forbidden, "may not act as "+key.String()+", which is nobody's key")
	}
	return key, err
}
