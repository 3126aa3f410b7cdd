package route

import (
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"

	"github.com/calimero-network/mero-go/pkg/permission"
)

// methods are those that rows may have; the index of one selects a node's row.
var methods = [...]string{
	http.MethodDelete, http.MethodGet, http.MethodPatch, http.MethodPost, http.MethodPut,
}

// methodIndex returns the index of the method whose rows judge m, or -1.
func methodIndex(m string) int {
	if m == http.MethodHead {
		m = http.MethodGet
	}
	return slices.Index(methods[:], m)
}

// Table is an immutable set of rows, prepared for lookups whose cost depends on the path and not on the number
// of rows. It is safe for concurrent use.
type Table struct {
	rows []Row
	root node
}

// node is a place in the tree of path segments.
type node struct {
	static map[string]*node   // by literal segment; "" is the slash at the end
	param  *node              // any id
	rows   [len(methods)]*Row // of paths that end here
	rest   [len(methods)]*Row // of patterns that take the rest of the path from here
}

// NewTable prepares rows, which it copies. It refuses malformed patterns and names, permissions that do not
// parse or name an unknown parameter, two rows for the same requests, two operations of one name, rows whose
// Guard and Needs disagree, and aliases of what is not there or of other aliases. It reports all problems.
func NewTable(rows []Row) (*Table, error) {
	t := &Table{rows: slices.Clone(rows)}
	b := builder{table: t, primary: make(map[string]*Row), ops: make(map[string]bool)}
	for i := range t.rows {
		b.declare(&t.rows[i])
	}
	for i := range t.rows {
		b.add(&t.rows[i])
	}
	if len(b.errs) > 0 {
		return nil, errors.Join(b.errs...)
	}
	return t, nil
}

// mustTable is NewTable for the tables of this package, whose rows are constants.
func mustTable(rows ...[]Row) *Table {
	t, err := NewTable(slices.Concat(rows...))
	if err != nil {
		panic(err)
	}
	return t
}

// Lookup returns the row of a request. It matches canonical paths only, and the method as spelled. If no row of
// the method matches it returns the zero Match and false; [Table.Methods] tells 405 from 404.
func (t *Table) Lookup(method, path string) (Match, bool) {
	var m Match
	at := methodIndex(method)
	if at < 0 || path == "" || path[0] != '/' {
		return m, false
	}
	m.Row = t.root.find(path[1:], at, &m.values, 0)
	return m, m.Row != nil
}

// Methods returns the methods that have a row for the path, sorted, for the header Allow; HEAD goes with GET.
func (t *Table) Methods(path string) []string {
	var allowed []string
	for _, method := range methods {
		if _, ok := t.Lookup(method, path); ok {
			allowed = append(allowed, method)
			if method == http.MethodGet {
				allowed = append(allowed, http.MethodHead)
			}
		}
	}
	return allowed
}

// All yields the rows in the order in which they were given. They must not be changed.
func (t *Table) All() iter.Seq[*Row] {
	return func(yield func(*Row) bool) {
		for i := range t.rows {
			if !yield(&t.rows[i]) {
				return
			}
		}
	}
}

// find returns the best row for the rest of a path below n, and fills in the values from index k on.
func (n *node) find(rest string, method int, values *[maxParams]string, k int) *Row {
	segment, after, more := strings.Cut(rest, "/")
	if child := n.static[segment]; child != nil {
		if r := child.next(after, more, method, values, k); r != nil {
			return r
		}
	}
	if n.param != nil && isParam(segment) {
		values[k] = segment
		if r := n.param.next(after, more, method, values, k+1); r != nil {
			return r
		}
	}
	if r := n.rest[method]; r != nil && canonicalRest(rest) {
		values[k] = rest
		return r
	}
	return nil
}

// next goes on after the segment that led to n.
func (n *node) next(after string, more bool, method int, values *[maxParams]string, k int) *Row {
	if more {
		return n.find(after, method, values, k)
	}
	return n.rows[method]
}

func isParam(segment string) bool {
	if segment == "" || len(segment) > maxParam || dots(segment) {
		return false
	}
	for i := range len(segment) {
		if !idByte[segment[i]] {
			return false
		}
	}
	return true
}

// canonicalRest reports whether a slash and rest are a canonical path. Lookups should only see such paths, but what
// lies under a public prefix must not depend on that.
func canonicalRest(rest string) bool {
	return checkPath(rest) == nil
}

// builder collects the rows of a table and all problems with them.
type builder struct {
	table   *Table
	primary map[string]*Row // by Row.String, without aliases
	ops     map[string]bool
	errs    []error
}

func (b *builder) fail(r *Row, format string, args ...any) {
	b.errs = append(b.errs, fmt.Errorf("route %s: %w", r, fmt.Errorf(format, args...)))
}

// declare notes a row that others may be aliases of.
func (b *builder) declare(r *Row) {
	if r.AliasOf != "" {
		return
	}
	if !isName(r.Op, ".-") {
		b.fail(r, "operation %q is not a name", r.Op)
	}
	if b.ops[r.Op] {
		b.fail(r, "another row is the operation %q", r.Op)
	}
	b.ops[r.Op] = true
	if b.primary[r.String()] == nil { // the second one is reported by add
		b.primary[r.String()] = r
	}
}

// add puts a row into the tree.
func (b *builder) add(r *Row) {
	if r.AliasOf != "" && !b.resolve(r) {
		return
	}
	method := slices.Index(methods[:], r.Method)
	if method < 0 {
		b.fail(r, "rows have no method %q", r.Method)
		return
	}
	slot, err := b.table.root.place(r, method)
	if err != nil {
		b.fail(r, "%w", err)
		return
	}
	if *slot != nil {
		b.fail(r, "matches the same requests as %s", *slot)
		return
	}
	*slot = r
	b.prepare(r)
}

// resolve gives an alias the operation and the requirement of the row it stands for.
func (b *builder) resolve(r *Row) bool {
	if r.Op != "" || r.Guard != ByPermission || len(r.Needs) > 0 {
		b.fail(r, "an alias takes operation and requirement from the row it stands for")
		return false
	}
	of := b.primary[r.AliasOf]
	if of == nil {
		b.fail(r, "alias of %q, which is not a row, or an alias itself", r.AliasOf)
		return false
	}
	r.Op, r.Guard, r.Needs = of.Op, of.Guard, of.Needs
	return true
}

// prepare parses the needs of a row.
func (b *builder) prepare(r *Row) {
	wantsNeeds := r.Guard == ByPermission || r.Guard == OwnObject
	if wantsNeeds != (len(r.Needs) > 0) {
		b.fail(r, "guard %d and %d needs disagree", r.Guard, len(r.Needs))
	}
	r.required = nil
	for _, n := range r.Needs {
		p, err := parseNeed(n, r.params)
		if err != nil {
			b.fail(r, "permission %q: %w", n.Permission, err)
		}
		r.required = append(r.required, p)
	}
}

func parseNeed(n Need, params []string) (requirement, error) {
	words, field, limited := strings.Cut(n.Permission, "[")
	parsed, err := permission.Parse(words)
	if err != nil {
		return requirement{}, err
	}
	prepared := requirement{permission: parsed, scope: n.Scope, param: -1}
	if !limited {
		return prepared, nil
	}
	name, closed := strings.CutSuffix(field, "]")
	prepared.param = slices.Index(params, name)
	switch {
	case !closed || prepared.param < 0:
		return requirement{}, fmt.Errorf("[%s is no parameter of the pattern", field)
	case n.Scope != ScopePath:
		return requirement{}, errors.New("limited by the path, but not of ScopePath")
	case parsed.On("id") == permission.Permission{}:
		return requirement{}, errors.New("takes no id")
	}
	return prepared, nil
}

// place returns the slot for the row's pattern, and sets the names of its parameters.
func (n *node) place(r *Row, method int) (**Row, error) {
	rest, ok := strings.CutPrefix(r.Pattern, "/")
	if !ok {
		return nil, errors.New("the pattern does not start with /")
	}
	r.params = nil
	for more := true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		name, isRest, err := parameter(segment)
		if err != nil {
			return nil, err
		}
		if name == "" {
			if segment == "" && more {
				return nil, ErrEmptySegment
			}
			n = n.literal(segment)
			continue
		}
		if slices.Contains(r.params, name) || len(r.params) == maxParams {
			return nil, fmt.Errorf("parameter %s occurs twice, or is one too many", name)
		}
		r.params = append(r.params, name)
		if isRest {
			if more {
				return nil, fmt.Errorf("%s... is not at the end", name)
			}
			return &n.rest[method], nil
		}
		if n.param == nil {
			n.param = new(node)
		}
		n = n.param
	}
	return &n.rows[method], nil
}

// parameter returns the name in a segment {name} or {name...}, or "" for a literal segment.
func parameter(segment string) (name string, isRest bool, err error) {
	inner, opened := strings.CutPrefix(segment, "{")
	inner, closed := strings.CutSuffix(inner, "}")
	if !opened && !closed {
		return "", false, checkPath(segment)
	}
	name, isRest = strings.CutSuffix(inner, "...")
	if !opened || !closed || !isName(name, "_") {
		return "", false, fmt.Errorf("%q is not a parameter", segment)
	}
	return name, isRest, nil
}

func (n *node) literal(segment string) *node {
	if n.static == nil {
		n.static = make(map[string]*node)
	}
	child := n.static[segment]
	if child == nil {
		child = new(node)
		n.static[segment] = child
	}
	return child
}

// isName reports whether s consists of lower-case letters, digits and the given other bytes.
func isName(s, others string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte(others, c) < 0 {
			return false
		}
	}
	return s != ""
}
