package provider

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// DecodeStrings reads the string members of a provider_data object into the places that members names. A member
// that is absent or null leaves its place as it is; members that are not named are ignored.
//
// It refuses what two JSON readers could understand differently: a name that occurs twice, a name that differs
// from a named one in case only (encoding/json would take it), text that is not valid UTF-8, and U+FFFD, which
// is what encoding/json makes of a lone surrogate. Errors wrap [ErrMalformed] and repeat nothing of the input.
func DecodeStrings(data json.RawMessage, members map[string]*string) error {
	if !utf8.Valid(data) || !json.Valid(data) {
		return fmt.Errorf("%w: not valid JSON", ErrMalformed)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return fmt.Errorf("%w: not a JSON object", ErrMalformed)
	}
	seen := make(map[string]bool)
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return fmt.Errorf("%w: not valid JSON", ErrMalformed)
		}
		name, _ := token.(string) // in an object, what precedes a value is its name
		if seen[name] {
			return fmt.Errorf("%w: a member occurs twice", ErrMalformed)
		}
		seen[name] = true
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return fmt.Errorf("%w: not valid JSON", ErrMalformed)
		}
		if err := decodeMember(name, value, members); err != nil {
			return err
		}
	}
	return nil
}

func decodeMember(name string, value json.RawMessage, members map[string]*string) error {
	place, known := members[name]
	if !known {
		for want := range members {
			if strings.EqualFold(name, want) {
				return fmt.Errorf("%w: %s must be spelled in lower case", ErrMalformed, want)
			}
		}
		return nil
	}
	if string(value) == "null" {
		return nil
	}
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		return fmt.Errorf("%w: %s must be a string", ErrMalformed, name)
	}
	if strings.ContainsRune(text, utf8.RuneError) {
		return fmt.Errorf("%w: %s holds broken Unicode", ErrMalformed, name)
	}
	*place = text
	return nil
}
