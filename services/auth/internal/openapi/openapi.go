// Package openapi describes an HTTP interface as an OpenAPI 3.1 document and as a page for people.
//
// Schemas are read off the Go types that handlers decode and encode, so that a member cannot be in one and not in the
// other. What a member means is said beside it, in its doc tag:
//
//	Name string `json:"name" doc:"shown in lists"`
//
// In an answer every member without omitempty is required, and none may be added. In a request those are required
// whose doc begins with "required"; the others may be null, which is the same as leaving them out. A schema tag names the JSON
// types, all of them, where the Go type does not tell:
//
//	Data json.RawMessage `json:"data" schema:"object" doc:"required"`
package openapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/calimero-network/mero-go/pkg/route"
)

// Operation describes one operation of a route table.
type Operation struct {
	Summary string // one line
	Text    string // more, may be empty
	Query   []Parameter
	Body    any   // a value of the type that the request's JSON is decoded into, nil for none
	Bodies  []any // further forms of the body
	NoBody  bool  // the body may be left out
	Answer  any   // a value of the type of the answer's data; nil when the answer is no JSON
	Answers []any // further forms of it
	Paged   bool  // next_cursor stands beside the data when more follows
	Media   string
	Means   string         // what success says, where that is not plain
	Status  int            // of success, 200 when 0
	Headers []Parameter    // of the answer
	Refuses map[int]string // what the refusals that are this operation's own mean

	// Those that it shares with others follow from its row, body and query, and from these.
	Limited bool // by the rate limits: 429
	Stored  bool // a public operation that needs the store: 503
	Exact   bool // it refuses as Refuses says, and fails with 500, and nothing else
}

// Parameter is a parameter of the query or a header.
type Parameter struct {
	Name, Text string
	Integer    bool
}

// Info is what the document says about the interface as a whole.
type Info struct {
	Title, Version, Text string
	Common               map[int]string      // what refusals mean that several operations answer
	ErrorHeader          Parameter           // names the reason of a refusal
	RefusalHeaders       map[int][]Parameter // further headers, by status

	// Beside are rows that are served without being in the table. The operations of the table's own must all be
	// described, and theirs too.
	Beside []*route.Row
}

// Describe returns the document for a table. Every operation of the table must be described, and nothing else.
func Describe(info Info, table *route.Table, operations map[string]Operation) (Document, error) {
	d := Document{OpenAPI: "3.1.0", Info: documentInfo{info.Title, info.Version, info.Text}}
	d.Components.SecuritySchemes = map[string]securityScheme{"bearer": {Type: "http", Scheme: "bearer", BearerFormat: "JWT"}}
	d.Components.Responses = map[string]response{}
	for status, text := range info.Common {
		d.Components.Responses[responseName(status)] = info.refusal(status, text)
	}
	used := make(map[string]bool, len(operations))
	rows := slices.Collect(table.All())
	for _, row := range append(rows, info.Beside...) {
		o, found := operations[row.Op]
		if !found {
			return d, fmt.Errorf("operation %q of the route table is not described", row.Op)
		}
		op, err := describe(info, row, o, used[row.Op])
		if err != nil {
			return d, fmt.Errorf("operation %q: %w", row.Op, err)
		}
		used[row.Op] = true
		d.Paths.add(strings.Replace(row.Pattern, "...}", "}", 1), strings.ToLower(row.Method), op)
	}
	for name := range operations {
		if !used[name] {
			return d, fmt.Errorf("operation %q is described and has no route", name)
		}
	}
	return d, nil
}

func describe(info Info, row *route.Row, o Operation, again bool) (operation, error) {
	op := operation{
		OperationID: row.Op, Tags: []string{tag(row.Pattern)}, Summary: o.Summary, Description: o.Text,
		Parameters: parameters(row.Pattern, o.Query), Responses: map[string]response{},
	}
	if again { // an alias; the ids of a document are unique
		op.OperationID += "." + strings.ToLower(row.Method) + "." + strings.Trim(strings.ReplaceAll(row.Pattern, "/", "."), ".")
	}
	switch row.Guard {
	case route.Public:
		op.Security = []map[string][]string{}
	case route.AnyToken:
		op.Security, op.Permissions = bearer, []string{}
	case route.OwnObject:
		op.Security, op.Permissions, op.OwnObject = bearer, needs(row), true
	case route.ByPermission:
		op.Security, op.Permissions = bearer, needs(row)
	}
	if err := op.describeBody(o); err != nil {
		return op, err
	}
	if err := op.describeAnswer(info, o); err != nil {
		return op, err
	}
	for status, text := range o.Refuses {
		op.Responses[strconv.Itoa(status)] = info.refusal(status, text)
	}
	for _, status := range op.shared(row, o) {
		if _, own := op.Responses[strconv.Itoa(status)]; own {
			continue
		}
		if info.Common[status] == "" {
			return op, fmt.Errorf("nothing says what %d means", status)
		}
		op.Responses[strconv.Itoa(status)] = response{Ref: "#/components/responses/" + responseName(status)}
	}
	return op, nil
}

// shared returns the refusals that follow from what kind of operation it is.
func (op *operation) shared(row *route.Row, o Operation) []int {
	all := []int{http.StatusInternalServerError}
	if o.Exact {
		return all
	}
	if o.Body != nil {
		all = append(all, http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	if len(o.Query) > 0 {
		all = append(all, http.StatusBadRequest)
	}
	if op.authenticated() {
		all = append(all, http.StatusUnauthorized, http.StatusForbidden)
		if strings.Contains(row.Pattern, "{") {
			all = append(all, http.StatusNotFound)
		}
	}
	if o.Limited {
		all = append(all, http.StatusTooManyRequests)
	}
	if o.Stored || op.authenticated() {
		all = append(all, http.StatusServiceUnavailable)
	}
	return all
}

var bearer = []map[string][]string{{"bearer": {}}}

func (op *operation) authenticated() bool { return len(op.Security) > 0 }

func (op *operation) describeBody(o Operation) error {
	if o.Body == nil {
		return nil
	}
	body, err := anyOf(append([]any{o.Body}, o.Bodies...), true)
	if err != nil {
		return err
	}
	op.RequestBody = &requestBody{Required: !o.NoBody, Content: content("application/json", body)}
	return nil
}

func (op *operation) describeAnswer(info Info, o Operation) error {
	status := o.Status
	if status == 0 {
		status = 200
	}
	r := response{Description: cmp.Or(o.Means, "success"), Headers: headers(o.Headers)}
	if status >= http.StatusBadRequest {
		r = info.refusal(status, "always")
	}
	if o.Answer != nil {
		data, err := anyOf(append([]any{o.Answer}, o.Answers...), false)
		if err != nil {
			return err
		}
		s := object(property{"data", data}, property{"error", &Schema{Type: []string{"null"}}})
		if o.Paged {
			s.Properties.set("next_cursor", &Schema{Type: []string{"string"}, Text: "for ?cursor; absent when nothing follows"})
		}
		r.Content = content("application/json", s)
	} else if o.Media != "" {
		r.Content = content(o.Media, &Schema{Type: []string{"string"}})
	}
	op.Responses[strconv.Itoa(status)] = r
	return nil
}

// anyOf is the schema of a value that has one of the types of the given ones.
func anyOf(values []any, request bool) (*Schema, error) {
	all := make([]*Schema, 0, len(values))
	for _, v := range values {
		s, err := schemaOf(reflect.TypeOf(v), request)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return &Schema{AnyOf: all}, nil
}

// refusal is the answer of an error. A redirect is none, and has no body.
func (info Info) refusal(status int, text string) response {
	if status < http.StatusBadRequest {
		return response{Description: text, Headers: headers(info.RefusalHeaders[status])}
	}
	data := &Schema{Text: "null, or what clients read beside the text"}
	return response{
		Description: text, Headers: headers(append([]Parameter{info.ErrorHeader}, info.RefusalHeaders[status]...)),
		Content: content("application/json", object(property{"data", data}, property{"error", &Schema{Type: []string{"string"}, Text: "for people"}})),
	}
}

func responseName(status int) string { return fmt.Sprintf("Refused%d", status) }

func content(media string, s *Schema) map[string]mediaType { return map[string]mediaType{media: {s}} }

func headers(list []Parameter) map[string]header {
	if len(list) == 0 {
		return nil
	}
	all := make(map[string]header, len(list))
	for _, p := range list {
		if p.Name != "" {
			all[p.Name] = header{p.Text, p.schema()}
		}
	}
	return all
}

func (p Parameter) schema() *Schema {
	if p.Integer {
		return &Schema{Type: []string{"integer"}}
	}
	return &Schema{Type: []string{"string"}}
}

func parameters(pattern string, query []Parameter) []parameter {
	var all []parameter
	for segment := range strings.SplitSeq(pattern, "/") {
		if name, is := strings.CutPrefix(segment, "{"); is {
			name = strings.TrimSuffix(strings.TrimSuffix(name, "}"), "...")
			all = append(all, parameter{name, "path", true, "", &Schema{Type: []string{"string"}}})
		}
	}
	for _, p := range query {
		all = append(all, parameter{p.Name, "query", false, p.Text, p.schema()})
	}
	return all
}

// tag groups operations by the first part of their path.
func tag(pattern string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(pattern, "/"), "/")
	return first
}

func needs(row *route.Row) []string {
	all := make([]string, 0, len(row.Needs))
	for _, n := range row.Needs {
		all = append(all, n.Permission)
	}
	if len(all) == 0 {
		all = append(all, "admin")
	}
	return all
}

// JSON renders the document.
func (d Document) JSON() ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(d); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
