package jsonrpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/node/internal/alias"
	"github.com/calimero-network/mero-go/services/node/internal/contexts"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// The limits of the parameters of execute.
const (
	MaxArgs       = 10 << 20 // bytes of the arguments as compact JSON
	maxMethod     = 256
	maxSubstitute = 100
)

type executed struct {
	Output json.RawMessage `json:"output"` // null if the method returned nothing
	Logs   []string        `json:"logs,omitempty"`
}

// execute serves {contextId, method, argsJson?, executorPublicKey?, substitute?}. Context and executor may be aliases.
func (h *Handler) execute(ctx context.Context, params json.RawMessage) (any, error) {
	p, err := readParams(params)
	if err != nil {
		return nil, err
	}
	c := contexts.Call{Method: p.text("method", true)}
	context, executor, names := p.text("contextId", true), p.text("executorPublicKey", false), p.texts("substitute")
	args := p.compact("argsJson")
	p.check(len(c.Method) <= maxMethod, "method is longer than 256 characters")
	p.check(len(args) <= MaxArgs, "argsJson is larger than 10 MiB")
	p.check(len(names) <= maxSubstitute, "substitute holds more than 100 names")
	if err := p.problem(); err != nil {
		return nil, err
	}
	c.Context, err = h.resolve(ctx, alias.Context, id.ID{}, "contextId", context, func(target id.ID) error {
		return h.Contexts.Admits(ctx, contexts.Call{Context: target, Method: c.Method})
	})
	if err != nil {
		return nil, err
	}
	if c.Executor, err = h.executor(ctx, c, executor, names); err != nil {
		return nil, err
	}
	if c.Input, err = h.substitute(ctx, c.Context, args, names); err != nil {
		return nil, err
	}
	result, err := h.Contexts.Execute(ctx, c)
	if err != nil {
		failed := h.describe(ctx, "execute", err)
		failed.Logs = result.Logs
		return nil, failed
	}
	if result.Output == nil {
		result.Output = null
	}
	return executed(result), nil
}

// executor returns the identity that a request names, the zero id if it names none. The names of a context are for
// those who may call it, so the right is asked for before any is looked up.
func (h *Handler) executor(ctx context.Context, c contexts.Call, text string, names []string) (id.ID, error) {
	key, err := id.Parse(text)
	switch {
	case err == nil && key == id.ID{}: // it would mean any
		return key, &contexts.UnauthorizedError{Context: c.Context}
	case err == nil:
		c.Executor = key
	}
	if err == nil && len(names) == 0 || text == "" && len(names) == 0 {
		return key, nil
	}
	if err := h.Contexts.Admits(ctx, c); err != nil || text == "" {
		return id.ID{}, err
	}
	return h.resolve(ctx, alias.Identity, c.Context, "executorPublicKey", text, func(target id.ID) error {
		if (target == id.ID{}) { // it would mean any
			return fault.New(fault.Forbidden, "the zero id is nobody's key")
		}
		c.Executor = target
		return h.Contexts.Admits(ctx, c)
	})
}

// resolve reads an id, or the alias of one. permitted refuses a target with an error of class Forbidden: who may not do
// what is asked for with the target of an alias gets the same error as for a name that nobody gave, so that names cannot
// be guessed, nor what they stand for be found out. Who names an id knows it already.
func (h *Handler) resolve(ctx context.Context, kind alias.Kind, scope id.ID, member, text string, permitted func(id.ID) error) (id.ID, error) {
	if target, err := id.Parse(text); err == nil {
		return target, nil
	}
	target, err := h.Aliases.Resolve(ctx, kind, scope, text)
	if err == nil {
		err = permitted(target)
	}
	if errors.Is(err, store.ErrNotFound) || fault.CodeOf(err) == fault.Forbidden {
		return id.ID{}, parseError(codeParams, member+": "+quote(text)+" is neither an id nor an alias that the caller may use")
	}
	return target, err
}

// aliasError says that a name to substitute is unknown.
type aliasError struct{ name string }

func (e *aliasError) Error() string { return "alias " + quote(e.name) + " cannot be resolved" }

// substitute puts the ids of identities in the place of {name} in the arguments. What it puts in is not looked at
// again.
func (h *Handler) substitute(ctx context.Context, scope id.ID, args []byte, names []string) ([]byte, error) {
	if len(names) == 0 {
		return args, nil
	}
	pairs := make([]string, 0, 2*len(names))
	for _, name := range names {
		target, err := h.Aliases.Resolve(ctx, alias.Identity, scope, name)
		if errors.Is(err, store.ErrNotFound) {
			return nil, &aliasError{name}
		}
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, "{"+name+"}", target.String())
	}
	return []byte(strings.NewReplacer(pairs...).Replace(string(args))), nil
}

type syncStatus struct {
	Context       id.ID  `json:"contextId"`
	IsInitialized bool   `json:"isInitialized"`
	State         string `json:"syncState"`
	Failures      int    `json:"failureCount"`
}

// syncStatus serves {contextId}. A node without others is never behind.
func (h *Handler) syncStatus(ctx context.Context, params json.RawMessage) (any, error) {
	p, err := readParams(params)
	if err != nil {
		return nil, err
	}
	context := p.text("contextId", true)
	if err := p.problem(); err != nil {
		return nil, err
	}
	c, err := h.resolve(ctx, alias.Context, id.ID{}, "contextId", context, func(target id.ID) error {
		_, err := h.Contexts.SyncStatus(ctx, target)
		return err
	})
	if err != nil {
		return nil, err
	}
	s, err := h.Contexts.SyncStatus(ctx, c)
	if fault.CodeOf(err) == fault.Forbidden {
		return nil, &contexts.UnauthorizedError{Context: c}
	}
	if err != nil {
		return nil, err
	}
	return syncStatus{Context: c, IsInitialized: s.Initialized, State: "synced"}, nil
}

// The types of errors beside ParseError, with codes from the range that is left to servers.
const (
	codeCall = -32000 - iota
	codeNotFound
	codeUnauthorized
	codeUninitialized
	codeNotInstalled
	codeAlias
	codeOutput
)

// describe turns an error into the form that clients read. What it hides from them goes to the log.
func (h *Handler) describe(ctx context.Context, method string, err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*contexts.UnauthorizedError](err); ok {
		return &Error{Code: codeUnauthorized, Message: e.Error(), Type: "Unauthorized", Data: map[string]id.ID{"context_id": e.Context, "public_key": e.PublicKey}}
	}
	if e, ok := errors.AsType[*contexts.NotInstalledError](err); ok {
		return &Error{Code: codeNotInstalled, Message: e.Error(), Type: "ApplicationNotInstalled", Data: map[string]id.ID{"application_id": e.Application}}
	}
	if e, ok := errors.AsType[*contexts.CallError](err); ok {
		return &Error{Code: codeCall, Message: e.Text, Type: "FunctionCallError", Data: e.Text}
	}
	if e, ok := errors.AsType[*contexts.OutputError](err); ok {
		return &Error{Code: codeOutput, Message: e.Problem, Type: "SerdeError", Data: map[string]string{"message": e.Problem}}
	}
	if e, ok := errors.AsType[*aliasError](err); ok {
		return &Error{Code: codeAlias, Message: e.Error(), Type: "AliasResolutionFailed", Data: map[string]string{"alias": e.name}}
	}
	switch {
	case errors.Is(err, contexts.ErrNotFound):
		return &Error{Code: codeNotFound, Message: "context not found", Type: "ContextNotFound", Data: "context not found"}
	case errors.Is(err, contexts.ErrUninitialized):
		return &Error{Code: codeUninitialized, Message: "the context has no state yet", Type: "Uninitialized", Data: "uninitialized"}
	}
	if ctx.Err() == nil {
		h.Log.ErrorContext(ctx, "a call failed inside the node", "method", method, "error", err)
	}
	return &Error{Code: codeInternal, Message: fault.MessageOf(err), Type: "InternalError", Data: struct{}{}}
}

// params reads the parameters of a method and collects what is wrong with them.
type params struct {
	members  map[string]json.RawMessage
	problems []string
}

func readParams(text json.RawMessage) (*params, error) {
	m, err := members(text)
	if err != nil {
		return nil, parseError(codeParams, "params: "+err.Error())
	}
	return &params{members: m}, nil
}

func (p *params) check(ok bool, problem string) {
	if !ok {
		p.problems = append(p.problems, problem)
	}
}

// problem returns what was wrong, nil if nothing was.
func (p *params) problem() error {
	switch len(p.problems) {
	case 0:
		return nil
	case 1:
		return parseError(codeParams, p.problems[0])
	}
	return parseError(codeParams, "Validation errors: "+strings.Join(p.problems, "; "))
}

// has reports whether a member is there and not null.
func (p *params) has(name string) bool {
	raw, ok := p.members[name]
	return ok && string(raw) != "null"
}

func (p *params) text(name string, required bool) string {
	if !p.has(name) {
		p.check(!required, name+" is missing")
		return ""
	}
	var s string
	err := json.Unmarshal(p.members[name], &s)
	p.check(err == nil && s != "", name+" must be a text that is not empty")
	return s
}

func (p *params) texts(name string) (list []string) {
	if p.has(name) {
		p.check(json.Unmarshal(p.members[name], &list) == nil, name+" must be a list of texts")
	}
	return list
}

// compact returns any JSON value without white space, {} if it is not there.
func (p *params) compact(name string) []byte {
	raw, ok := p.members[name]
	if !ok {
		return []byte("{}")
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		panic(fmt.Sprintf("a member of valid JSON is not valid: %v", err))
	}
	return b.Bytes()
}
