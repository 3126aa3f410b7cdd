package runtime

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf8"
)

// hostCall is a function of the host as the engine writes it. The arguments are on the stack, and the result goes
// to its first place.
type hostCall func(v *invocation, stack []uint64)

// envFunction is a function of the module "env".
type envFunction struct {
	funcType
	call hostCall
}

// signature reads a type as "iiI": one letter for each parameter, then, after a ">", one for the result. I is i64 and
// i is i32. Pointers, lengths and registers are i64, booleans i32.
func signature(s string) (t funcType) {
	params, results, _ := strings.Cut(s, ">")
	read := func(letters string) (types []byte) {
		for _, l := range letters {
			types = append(types, map[rune]byte{'I': typeI64, 'i': typeI32}[l])
		}
		return types
	}
	return funcType{read(params), read(results)}
}

// env is the host's part of the contract with applications. What it lacks (the collections of the JavaScript SDK
// among it) every module may import, and calls in vain.
var env = map[string]envFunction{
	"panic":                    {signature("I"), guestPanic},
	"panic_utf8":               {signature("II"), guestPanicText},
	"register_len":             {signature("I>I"), registerLen},
	"read_register":            {signature("II>i"), readRegister},
	"context_id":               {signature("I"), contextID},
	"executor_id":              {signature("I"), executorID},
	"input":                    {signature("I"), input},
	"value_return":             {signature("I"), valueReturn},
	"log_utf8":                 {signature("I"), logText},
	"js_std_d_print":           {signature("III>i"), debugPrint},
	"emit":                     {signature("I"), emit},
	"emit_with_handler":        {signature("II"), emitWithHandler},
	"xcall":                    {signature("I"), xcall},
	"commit":                   {signature("II"), commit},
	"storage_read":             {signature("II>i"), storageRead},
	"storage_write":            {signature("III>i"), storageWrite},
	"storage_remove":           {signature("II>i"), storageRemove},
	"private_storage_read":     {signature("II>i"), privateRead},
	"private_storage_write":    {signature("II>i"), privateWrite},
	"private_storage_remove":   {signature("II>i"), privateRemove},
	"persist_root_state":       {signature("III"), persistRootState},
	"read_root_state":          {signature("I>i"), readRootState},
	"apply_storage_delta":      {signature("I"), applyStorageDelta},
	"flush_delta":              {signature(">i"), flushDelta},
	"random_bytes":             {signature("I"), randomBytes},
	"time_now":                 {signature("I"), timeNow},
	"ed25519_verify":           {signature("III>i"), ed25519Verify},
	"fetch":                    {signature("IIIII>i"), fetch},
	"send_proposal":            {signature("II"), sendProposal},
	"approve_proposal":         {signature("I"), approveProposal},
	"context_create":           {signature("IIII"), contextCreate},
	"context_delete":           {signature("I"), contextDelete},
	"context_add_member":       {signature("I"), contextAddMember},
	"context_remove_member":    {signature("I"), contextRemoveMember},
	"context_is_member":        {signature("I>i"), contextIsMember},
	"context_members":          {signature("I"), contextMembers},
	"context_resolve_alias":    {signature("II>i"), contextResolveAlias},
	"blob_create":              {signature(">I"), blobCreate},
	"blob_write":               {signature("II>I"), blobWrite},
	"blob_read":                {signature("II>I"), blobRead},
	"blob_open":                {signature("I>I"), blobOpen},
	"blob_close":               {signature("II>i"), blobClose},
	"blob_announce_to_context": {signature("II>i"), blobAnnounce},
}

// hostFunction returns what a guest gets for an import. Whatever this host does not have, or has with another type,
// it may import too: only the call fails.
func hostFunction(f functionImport) hostCall {
	known, ok := env[f.name]
	switch {
	case f.module != "env" || !ok:
		return unsupported("the host has no function %q in %q", f)
	case !slices.Equal(known.params, f.params) || !slices.Equal(known.results, f.results):
		return unsupported("the host's function %q in %q is of another type", f)
	}
	return known.call
}

func unsupported(format string, f functionImport) hostCall {
	err := fail(ErrUnsupported, format, shorten(f.name, maxMethod), shorten(f.module, maxMethod))
	return func(v *invocation, _ []uint64) { v.abort(err) }
}

// shorten cuts a text to at most n bytes of whole characters.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// located ends the call with a panic at the location at p: the descriptor of a file name, line and column.
func (v *invocation) located(message string, p uint64) {
	const size = bufferSize + 8
	b := v.view(p, size)
	file := v.bytes(p)
	v.abort(&PanicError{
		Message: message,
		File:    v.readable(file),
		Line:    binary.LittleEndian.Uint32(b[bufferSize:]),
		Column:  binary.LittleEndian.Uint32(b[bufferSize+4:]),
	})
}

// readable returns text of a guest for people, cut to the size of a log.
func (v *invocation) readable(b []byte) string {
	limit := v.engine.limits.LogSize
	return shorten(strings.ToValidUTF8(string(b[:min(len(b), limit)]), "\uFFFD"), limit)
}

func guestPanic(v *invocation, stack []uint64) { v.located("explicit panic", stack[0]) }

func guestPanicText(v *invocation, stack []uint64) {
	v.located(v.readable(v.bytes(stack[0])), stack[1])
}

const noRegister = ^uint64(0)

func registerLen(v *invocation, stack []uint64) {
	if b, ok := v.registers.content[stack[0]]; ok {
		stack[0] = uint64(len(b))
	} else {
		stack[0] = noRegister
	}
}

// readRegister copies a register whose length the guest knows.
func readRegister(v *invocation, stack []uint64) {
	b, ok := v.registers.content[stack[0]]
	to := v.buffer(stack[1])
	if !ok {
		v.abort(fail(ErrTrap, "invalid register id: %d", stack[0]))
	}
	if to.size != uint64(len(b)) {
		stack[0] = 0
		return
	}
	copy(v.view(to.at, to.size), b)
	stack[0] = 1
}

func contextID(v *invocation, stack []uint64)  { v.set(stack[0], bytes.Clone(v.call.Context[:])) }
func executorID(v *invocation, stack []uint64) { v.set(stack[0], bytes.Clone(v.call.Executor[:])) }
func input(v *invocation, stack []uint64)      { v.set(stack[0], v.call.Input) }

// valueReturn takes the result: a tag of 8 bytes (0 for a value, 1 for an error) and a descriptor.
func valueReturn(v *invocation, stack []uint64) {
	tag := binary.LittleEndian.Uint64(v.view(stack[0], 8))
	if tag > 1 {
		v.abort(fail(ErrTrap, "a return value is neither a result nor an error"))
	}
	b := v.bounded("the size of a return value", stack[0]+8, v.engine.limits.ReturnSize)
	v.returned, v.failed = append([]byte{}, b...), tag == 1
}

func logText(v *invocation, stack []uint64) {
	v.room("logs", len(v.logs), v.engine.limits.Logs)
	v.logs = append(v.logs, v.text("the size of a log", stack[0], v.engine.limits.LogSize))
}

// debugPrint is where the JavaScript engine prints to: address and length, without a descriptor.
func debugPrint(v *invocation, stack []uint64) {
	v.room("logs", len(v.logs), v.engine.limits.Logs)
	v.limit("the size of a log", stack[2], uint64(v.engine.limits.LogSize)) //nolint:gosec // not negative
	v.logs = append(v.logs, v.readable(v.view(stack[1], stack[2])))
	stack[0] = 0
}

func emit(v *invocation, stack []uint64) { v.emit(stack[0], "") }

// emitWithHandler names the method to be called with the event afterwards. The address 0 is none.
func emitWithHandler(v *invocation, stack []uint64) {
	handler := ""
	if stack[1] != 0 {
		handler = v.text("the size of a handler's name", stack[1], v.engine.limits.HandlerSize)
	}
	v.emit(stack[0], handler)
}

// emit takes an event: the descriptors of its kind and its data.
func (v *invocation) emit(p uint64, handler string) {
	l := &v.engine.limits
	v.room("events", len(v.events), l.Events)
	v.events = append(v.events, Event{
		Kind:    v.text("the size of an event's kind", p, l.EventKindSize),
		Data:    append([]byte{}, v.bounded("the size of an event's data", p+bufferSize, l.EventDataSize)...),
		Handler: handler,
	})
}

// xcall takes a call of another context: the descriptors of its id, the method's name and the input.
func xcall(v *invocation, stack []uint64) {
	l, p := &v.engine.limits, stack[0]
	v.room("calls of other contexts", len(v.xcalls), l.XCalls)
	v.xcalls = append(v.xcalls, XCall{
		Context:  v.id(p),
		Function: v.text("the size of a called method's name", p+bufferSize, l.XCallFunctionSize),
		Params:   append([]byte{}, v.bounded("the size of a called method's input", p+2*bufferSize, l.XCallParamsSize)...),
	})
}

func commit(v *invocation, stack []uint64) {
	root, artifact := v.id(stack[0]), v.bytes(stack[1])
	if v.commits > 0 {
		v.abort(fail(ErrTrap, "the method committed twice"))
	}
	v.commits++
	v.committed, v.root, v.artifact = true, root, bytes.Clone(artifact)
}
