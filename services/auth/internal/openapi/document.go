package openapi

import (
	"bytes"
	"encoding/json"
)

// Document is an OpenAPI document (OpenAPI Specification 3.1, section 4.8).
type Document struct {
	OpenAPI    string       `json:"openapi"`
	Info       documentInfo `json:"info"`
	Paths      paths        `json:"paths"`
	Components components   `json:"components"`
}

type documentInfo struct {
	Title       string `json:"title"`
	Version     string `json:"version"`
	Description string `json:"description"`
}

type components struct {
	SecuritySchemes map[string]securityScheme `json:"securitySchemes"`
	Responses       map[string]response       `json:"responses"`
}

type securityScheme struct {
	Type         string `json:"type"`
	Scheme       string `json:"scheme"`
	BearerFormat string `json:"bearerFormat"`
}

type operation struct {
	OperationID string                `json:"operationId"`
	Tags        []string              `json:"tags"`
	Summary     string                `json:"summary"`
	Description string                `json:"description,omitempty"`
	Security    []map[string][]string `json:"security"`
	Permissions []string              `json:"x-permissions,omitempty"` // one of them is enough
	OwnObject   bool                  `json:"x-own-object,omitempty"`  // any token will do for what belongs to its own key
	Parameters  []parameter           `json:"parameters,omitempty"`
	RequestBody *requestBody          `json:"requestBody,omitempty"`
	Responses   map[string]response   `json:"responses"`
}

type parameter struct {
	Name        string  `json:"name"`
	In          string  `json:"in"`
	Required    bool    `json:"required"`
	Description string  `json:"description,omitempty"`
	Schema      *Schema `json:"schema"`
}

type requestBody struct {
	Required bool                 `json:"required"`
	Content  map[string]mediaType `json:"content"`
}

type response struct {
	Ref         string               `json:"$ref,omitempty"`
	Description string               `json:"description,omitempty"`
	Headers     map[string]header    `json:"headers,omitempty"`
	Content     map[string]mediaType `json:"content,omitempty"`
}

type header struct {
	Description string  `json:"description,omitempty"`
	Schema      *Schema `json:"schema"`
}

type mediaType struct {
	Schema *Schema `json:"schema"`
}

// ordered is a JSON object whose members keep their order, which is the order of the route table and of the types.
type ordered[T any] struct {
	names  []string
	values map[string]T
}

func (o *ordered[T]) set(name string, value T) {
	if o.values == nil {
		o.values = make(map[string]T)
	}
	if _, known := o.values[name]; !known {
		o.names = append(o.names, name)
	}
	o.values[name] = value
}

// MarshalJSON writes the members in order.
func (o ordered[T]) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, name := range o.names {
		if i > 0 {
			out.WriteByte(',')
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(o.values[name])
		if err != nil {
			return nil, err
		}
		out.Write(key)
		out.WriteByte(':')
		out.Write(value)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// paths is the Paths Object: path, then method.
type paths struct{ ordered[*ordered[operation]] }

func (p *paths) add(path, method string, op operation) {
	methods := p.values[path]
	if methods == nil {
		methods = &ordered[operation]{}
		p.set(path, methods)
	}
	methods.set(method, op)
}
