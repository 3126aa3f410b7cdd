package openapi

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Schema is the part of JSON Schema 2020-12 that the interface needs.
type Schema struct {
	Type       []string         `json:"-"` // one name, or several
	Text       string           `json:"description,omitempty"`
	Properties ordered[*Schema] `json:"-"`
	Required   []string         `json:"required,omitempty"`
	Items      *Schema          `json:"items,omitempty"`
	Values     *Schema          `json:"-"` // of an object with any member names
	Closed     bool             `json:"-"` // no other members
	AnyOf      []*Schema        `json:"anyOf,omitempty"`
}

// MarshalJSON writes the schema.
func (s Schema) MarshalJSON() ([]byte, error) {
	type plain Schema // without this method
	out := struct {
		Type any `json:"type,omitempty"`
		plain
		Properties *ordered[*Schema] `json:"properties,omitempty"`
		Additional any               `json:"additionalProperties,omitempty"`
	}{plain: plain(s)}
	switch len(s.Type) {
	case 0:
	case 1:
		out.Type = s.Type[0]
	default:
		out.Type = s.Type
	}
	if len(s.Properties.names) > 0 {
		out.Properties = &s.Properties
	}
	switch {
	case s.Values != nil:
		out.Additional = s.Values
	case s.Closed:
		out.Additional = false
	}
	return json.Marshal(out)
}

// Described is a type whose JSON is not that of its Go type.
type Described interface {
	// OpenAPI returns the JSON types, such as integer and null, and what the value means.
	OpenAPI() (types []string, text string)
}

// orNull lets a value be null, unless it may be anything already.
func (s *Schema) orNull() {
	if len(s.Type) > 0 && !slices.Contains(s.Type, "null") {
		s.Type = append(s.Type, "null")
	}
}

type property struct {
	name   string
	schema *Schema
}

// object is a closed object with required members.
func object(members ...property) *Schema {
	s := &Schema{Type: []string{"object"}, Closed: true}
	for _, m := range members {
		s.Properties.set(m.name, m.schema)
		s.Required = append(s.Required, m.name)
	}
	return s
}

// schemaOf reads the schema off a type. Requests may hold more than is known.
func schemaOf(t reflect.Type, request bool) (*Schema, error) {
	if d, is := reflect.Zero(t).Interface().(Described); is {
		types, text := d.OpenAPI()
		return &Schema{Type: types, Text: text}, nil
	}
	switch t {
	case reflect.TypeFor[json.RawMessage]():
		return &Schema{}, nil
	case reflect.TypeFor[time.Time]():
		return &Schema{Type: []string{"string"}, Text: "RFC 3339"}, nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		s, err := schemaOf(t.Elem(), request)
		if err == nil && !request {
			s.orNull()
		}
		return s, err
	case reflect.String:
		return &Schema{Type: []string{"string"}}, nil
	case reflect.Bool:
		return &Schema{Type: []string{"boolean"}}, nil
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint32, reflect.Uint64:
		return &Schema{Type: []string{"integer"}}, nil
	case reflect.Float64:
		return &Schema{Type: []string{"number"}}, nil
	case reflect.Interface:
		return &Schema{}, nil
	case reflect.Slice:
		items, err := schemaOf(t.Elem(), request)
		return &Schema{Type: []string{"array"}, Items: items}, err
	case reflect.Map:
		values, err := schemaOf(t.Elem(), request)
		return &Schema{Type: []string{"object"}, Values: values}, err
	case reflect.Struct:
		return structSchema(t, request)
	}
	return nil, fmt.Errorf("%s has no schema", t)
}

func structSchema(t reflect.Type, request bool) (*Schema, error) {
	s := &Schema{Type: []string{"object"}, Closed: !request}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			embedded, err := structSchema(f.Type, request)
			if err != nil {
				return nil, err
			}
			for _, n := range embedded.Properties.names {
				s.Properties.set(n, embedded.Properties.values[n])
			}
			s.Required = append(s.Required, embedded.Required...)
			continue
		}
		if name == "-" {
			continue
		}
		if name == "" {
			return nil, fmt.Errorf("%s.%s has no json tag", t, f.Name)
		}
		member, err := schemaOf(f.Type, request)
		if err != nil {
			return nil, err
		}
		if types := f.Tag.Get("schema"); types != "" {
			member.Type = strings.Split(types, ",")
		}
		doc := f.Tag.Get("doc")
		if doc != "" {
			member.Text = doc
		}
		s.Properties.set(name, member)
		if request {
			if strings.HasPrefix(doc, "required") {
				s.Required = append(s.Required, name)
			} else if f.Tag.Get("schema") == "" {
				member.orNull()
			}
		} else if !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero") {
			s.Required = append(s.Required, name)
		}
	}
	return s, nil
}
