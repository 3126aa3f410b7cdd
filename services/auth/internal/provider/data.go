package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/calimero-network/mero-go/pkg/strictjson"
)

// DecodeStrings reads the string members of a provider_data object into the places that members names. A member
// that is absent or null leaves its place as it is; members that are not named are ignored.
//
// It refuses what two JSON readers could understand differently (see package strictjson), and a name that
// differs from a named one in case only. Errors wrap [ErrMalformed] and repeat nothing of the input.
func DecodeStrings(data json.RawMessage, members map[string]*string) error {
	if err := strictjson.Check(data); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(data, &given); err != nil || given == nil {
		return fmt.Errorf("%w: not a JSON object", ErrMalformed)
	}
	for name, value := range given {
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
	if err := json.Unmarshal(value, place); err != nil {
		if _, mistyped := errors.AsType[*json.UnmarshalTypeError](err); mistyped {
			return fmt.Errorf("%w: %s must be a string", ErrMalformed, name)
		}
		return fmt.Errorf("%w: %s: not valid JSON", ErrMalformed, name)
	}
	return nil
}
