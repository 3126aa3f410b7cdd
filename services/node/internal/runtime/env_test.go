package runtime_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/runtime"
)

// guest calls the functions of the host as a test says.
type guest struct {
	t    testing.TB
	at   *runtime.Instance
	next uint32
}

// passThrough is a module that exports every function of the host.
func passThrough(t testing.TB) []byte {
	var b strings.Builder
	letters := func(types []byte) string {
		return strings.NewReplacer("\x7e", "I", "\x7f", "i").Replace(string(types))
	}
	functions := runtime.EnvFunctions()
	for _, f := range functions {
		fmt.Fprintf(&b, "import env.%s %s>%s\n", f.Name, letters(f.Params), letters(f.Results))
	}
	b.WriteString("memory 16\n")
	for _, f := range functions {
		fmt.Fprintf(&b, "func %s %s>%s\n", f.Name, letters(f.Params), letters(f.Results))
		for i := range f.Params {
			fmt.Fprintf(&b, "local.get %d\n", i)
		}
		fmt.Fprintf(&b, "call env.%s\nend func\n", f.Name)
	}
	return assemble(t, b.String())
}

func newGuest(t testing.TB, c runtime.Call, change func(*runtime.Options)) *guest {
	t.Helper()
	e := newEngine(t, change)
	m, err := e.Compile(context.Background(), passThrough(t))
	if err != nil {
		t.Fatal(err)
	}
	at, err := e.NewInstance(context.Background(), m, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(at.Close)
	return &guest{t: t, at: at, next: 16}
}

// raw puts bytes into the guest's memory and returns their address.
func (g *guest) raw(b []byte) uint64 {
	g.t.Helper()
	p := g.next
	if !g.at.Memory().Write(p, b) {
		g.t.Fatal("the guest's memory is full")
	}
	g.next = (p + uint32(len(b)) + 15) &^ 15
	return uint64(p)
}

// desc puts a text into the memory and returns the address of its descriptor.
func (g *guest) desc(s string) uint64 { return g.raw(desc(g.raw([]byte(s)), uint64(len(s)))) }

// space returns a buffer in the guest's memory and the address of its descriptor.
func (g *guest) space(n int) (p uint64, read func() []byte) {
	at := g.raw(make([]byte, n))
	return g.raw(desc(at, uint64(n))), func() []byte {
		b, _ := g.at.Memory().Read(uint32(at), uint32(n))
		return bytes.Clone(b)
	}
}

// call calls a function that must work, and returns its result.
func (g *guest) call(name string, args ...uint64) uint64 {
	g.t.Helper()
	results, err := g.at.Call(name, args...)
	if err != nil {
		g.t.Fatalf("%s%v: %v", name, args, err)
	}
	for _, f := range runtime.EnvFunctions() {
		switch {
		case f.Name != name || len(results) == 0:
		case f.Results[0] == api.ValueTypeI32:
			return uint64(uint32(results[0])) // the upper half of an i32 is anything
		default:
			return results[0]
		}
	}
	return 0
}

// fails calls a function that must end the call.
func (g *guest) fails(reason error, text, name string, args ...uint64) {
	g.t.Helper()
	results, err := g.at.Call(name, args...)
	if !errors.Is(err, reason) || err.Error() != text {
		g.t.Errorf("%s%v = %v, %v; want %q", name, args, results, err, text)
	}
}

// register reads a register.
func (g *guest) register(r uint64) string {
	g.t.Helper()
	n := g.call("register_len", r)
	if n == ^uint64(0) {
		return "<none>"
	}
	to, read := g.space(int(n))
	if g.call("read_register", r, to) != 1 {
		g.t.Fatalf("register %d of %d bytes was not read", r, n)
	}
	return string(read())
}

func (g *guest) wantResult(want uint64, name string, args ...uint64) {
	g.t.Helper()
	if got := g.call(name, args...); got != want {
		g.t.Errorf("%s%v = %d, want %d", name, args, got, want)
	}
}

func (g *guest) wantRegister(r uint64, want string) {
	g.t.Helper()
	if got := g.register(r); got != want {
		g.t.Errorf("register %d = %q, want %q", r, got, want)
	}
}

const memoryText = "invalid memory access"

func TestRegisters(t *testing.T) {
	g := newGuest(t, runtime.Call{Input: []byte("in"), Context: aContext, Executor: aExecutor}, func(o *runtime.Options) {
		o.Limits.Registers, o.Limits.RegisterSize, o.Limits.RegisterTotal, o.Limits.ValueSize = 3, 40, 100, 100
	})
	g.wantResult(^uint64(0), "register_len", 1)
	g.call("input", 1)
	g.wantRegister(1, "in")
	to, _ := g.space(3)
	g.wantResult(0, "read_register", 1, to) // another length
	g.fails(runtime.ErrTrap, "invalid register id: 2", "read_register", 2, to)
	g.call("context_id", 2)
	g.wantRegister(2, string(aContext[:]))
	g.call("executor_id", ^uint64(0)) // any number names a register
	g.wantRegister(^uint64(0), string(aExecutor[:]))
	g.fails(runtime.ErrHostLimit, "a call has at most 3 registers", "input", 4)

	key, value := g.desc("k"), g.desc(strings.Repeat("v", 41))
	g.call("storage_write", key, value, 1)
	g.fails(runtime.ErrHostLimit, "the limit of the size of a register is 40, and the guest asked for 41", "storage_read", key, 1)
}

func TestRegisterTotal(t *testing.T) {
	g := newGuest(t, runtime.Call{Context: aContext}, func(o *runtime.Options) { o.Limits.RegisterTotal = 70 })
	g.call("context_id", 1)
	g.call("context_id", 2)
	g.fails(runtime.ErrHostLimit, "the limit of the size of all registers is 70, and the guest asked for 96", "context_id", 3)
	g.call("context_id", 2) // what is replaced does not count
}

// Descriptors and addresses anywhere in 64 bits are refused, never followed.
func TestHostileAddresses(t *testing.T) {
	g := newGuest(t, runtime.Call{Input: []byte("in"), State: state{}, Private: state{}, Blobs: newBlobs()}, nil)
	size := uint64(g.at.Memory().Size())
	for _, p := range []uint64{size, size - 1, size - 15, 1<<32 - 16, 1<<32 - 1, 1 << 32, 1<<32 + 16, 1 << 63, ^uint64(0) - 15, ^uint64(0)} {
		g.fails(runtime.ErrTrap, memoryText, "log_utf8", p)
		g.fails(runtime.ErrTrap, memoryText, "value_return", p)
		g.fails(runtime.ErrTrap, memoryText, "emit", p)
		g.fails(runtime.ErrTrap, memoryText, "xcall", p)
		g.fails(runtime.ErrTrap, memoryText, "panic", p)
		g.fails(runtime.ErrTrap, memoryText, "storage_read", p, 1)
		g.fails(runtime.ErrTrap, memoryText, "read_register", 1, p)
	}
	g.call("input", 1)
	for _, d := range [][2]uint64{
		{size, 2}, {size - 1, 2}, {1 << 32, 2}, {1<<32 + 16, 2}, {^uint64(0), 2}, {^uint64(0) - 1, 2}, {0, size + 1}, {0, 1 << 32}, {0, 1<<32 + 2}, {16, ^uint64(0)}, {^uint64(0), ^uint64(0)},
	} {
		p := g.raw(desc(d[0], d[1]))
		g.fails(runtime.ErrTrap, memoryText, "random_bytes", p)
		g.fails(runtime.ErrTrap, memoryText, "commit", p, p)
		if d[1] == 2 {
			g.fails(runtime.ErrTrap, memoryText, "read_register", 1, p)
			g.fails(runtime.ErrTrap, memoryText, "storage_read", p, 1)
		}
	}
	g.call("log_utf8", g.raw(desc(^uint64(0), 0))) // an empty buffer is nowhere
	g.call("log_utf8", g.raw(desc(size-4, 4)))     // the last bytes

	// A descriptor that lies in its own buffer: it is read once, before anything is written.
	at := g.raw(make([]byte, 16))
	copy(g.view(at, 16), desc(at, 16))
	g.call("random_bytes", at)
	if got := g.view(at, 16); !bytes.Equal(got, bytes.Repeat([]byte{1}, 16)) {
		t.Errorf("random bytes over their descriptor: %x", got)
	}
}

func (g *guest) view(p uint64, n int) []byte {
	b, _ := g.at.Memory().Read(uint32(p), uint32(n))
	return b
}

func TestPanics(t *testing.T) {
	g := newGuest(t, runtime.Call{}, func(o *runtime.Options) { o.Limits.LogSize = 10 })
	file := g.raw([]byte("src/lib.rs"))
	at := g.raw(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(desc(file, 10), 17), 5))
	_, err := g.at.Call("panic_utf8", g.desc("no coffee"), at)
	var p *runtime.PanicError
	if !errors.As(err, &p) || *p != (runtime.PanicError{Message: "no coffee", File: "src/lib.rs", Line: 17, Column: 5}) {
		t.Errorf("error %v", err)
	}
	g.fails(runtime.ErrPanic, "guest panicked: explicit panic at src/lib.rs:17:5", "panic", at)
	g.fails(runtime.ErrPanic, "guest panicked: a\uFFFDb at src/lib.rs:17:5", "panic_utf8", g.desc("a\xffb"), at)
	g.fails(runtime.ErrPanic, "guest panicked: 123456789 at src/lib.rs:17:5", "panic_utf8", g.desc("123456789\u00e4and more"), at)
}

func TestValueReturn(t *testing.T) {
	g := newGuest(t, runtime.Call{}, func(o *runtime.Options) { o.Limits.ReturnSize = 5 })
	value := func(tag uint64, s string) uint64 {
		return g.raw(append(binary.LittleEndian.AppendUint64(nil, tag), desc(g.raw([]byte(s)), uint64(len(s)))...))
	}
	if out := g.at.Outcome(); out.Returned != nil || out.Failed {
		t.Errorf("before a return: %+v", out)
	}
	g.call("value_return", value(0, "first"))
	g.call("value_return", value(0, ""))
	if out := g.at.Outcome(); out.Returned == nil || len(out.Returned) != 0 || out.Failed {
		t.Errorf("an empty value: %+v", out)
	}
	g.call("value_return", value(1, "wrong"))
	if out := g.at.Outcome(); string(out.Returned) != "wrong" || !out.Failed {
		t.Errorf("an error: %+v", out)
	}
	g.fails(runtime.ErrTrap, "a return value is neither a result nor an error", "value_return", value(2, "x"))
	g.fails(runtime.ErrHostLimit, "the limit of the size of a return value is 5, and the guest asked for 6", "value_return", value(0, "123456"))
}

func TestLogs(t *testing.T) {
	g := newGuest(t, runtime.Call{}, func(o *runtime.Options) { o.Limits.Logs, o.Limits.LogSize = 3, 8 })
	g.call("log_utf8", g.desc("one"))
	g.fails(runtime.ErrTrap, "invalid UTF-8 string", "log_utf8", g.desc("\xff"))
	g.fails(runtime.ErrHostLimit, "the limit of the size of a log is 8, and the guest asked for 9", "log_utf8", g.desc("123456789"))
	g.wantResult(0, "js_std_d_print", 0, g.raw([]byte("two\xff")), 4)
	g.fails(runtime.ErrHostLimit, "the limit of the size of a log is 8, and the guest asked for 18446744073709551615", "js_std_d_print", 0, 0, ^uint64(0))
	g.call("log_utf8", g.desc(""))
	g.fails(runtime.ErrHostLimit, "a call has at most 3 logs", "log_utf8", g.desc("four"))
	g.fails(runtime.ErrHostLimit, "a call has at most 3 logs", "js_std_d_print", 0, 0, 0)
	if got := g.at.Outcome().Logs; fmt.Sprintf("%q", got) != `["one" "two`+"\uFFFD"+`" ""]` {
		t.Errorf("logs %q", got)
	}
}

func TestEvents(t *testing.T) {
	g := newGuest(t, runtime.Call{}, func(o *runtime.Options) {
		o.Limits.Events, o.Limits.EventKindSize, o.Limits.EventDataSize, o.Limits.HandlerSize = 3, 4, 5, 6
	})
	event := func(kind, data string) uint64 {
		k, d := g.raw([]byte(kind)), g.raw([]byte(data))
		return g.raw(append(desc(k, uint64(len(kind))), desc(d, uint64(len(data)))...))
	}
	g.call("emit", event("kind", "data\xff"))
	g.call("emit_with_handler", event("k", ""), g.desc("handle"))
	g.fails(runtime.ErrHostLimit, "the limit of the size of an event's kind is 4, and the guest asked for 5", "emit", event("kind5", ""))
	g.fails(runtime.ErrHostLimit, "the limit of the size of an event's data is 5, and the guest asked for 6", "emit", event("k", "data66"))
	g.fails(runtime.ErrHostLimit, "the limit of the size of a handler's name is 6, and the guest asked for 7", "emit_with_handler", event("k", ""), g.desc("handler"))
	g.fails(runtime.ErrTrap, "invalid UTF-8 string", "emit", event("\xff", ""))
	g.call("emit_with_handler", event("k", "x"), 0)
	g.fails(runtime.ErrHostLimit, "a call has at most 3 events", "emit", event("k", ""))
	want := []runtime.Event{{Kind: "kind", Data: []byte("data\xff")}, {Kind: "k", Data: []byte{}, Handler: "handle"}, {Kind: "k", Data: []byte("x")}}
	if got := g.at.Outcome().Events; fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("events %+v, want %+v", got, want)
	}
}

func TestXCalls(t *testing.T) {
	g := newGuest(t, runtime.Call{}, func(o *runtime.Options) {
		o.Limits.XCalls, o.Limits.XCallFunctionSize, o.Limits.XCallParamsSize = 1, 4, 5
	})
	call := func(context []byte, function, params string) uint64 {
		c, f, p := g.raw(context), g.raw([]byte(function)), g.raw([]byte(params))
		return g.raw(append(append(desc(c, uint64(len(context))), desc(f, uint64(len(function)))...), desc(p, uint64(len(params)))...))
	}
	g.fails(runtime.ErrTrap, memoryText, "xcall", call(aContext[:31], "f", ""))
	g.fails(runtime.ErrHostLimit, "the limit of the size of a called method's name is 4, and the guest asked for 5", "xcall", call(aContext[:], "funct", ""))
	g.fails(runtime.ErrHostLimit, "the limit of the size of a called method's input is 5, and the guest asked for 6", "xcall", call(aContext[:], "f", "params"))
	g.call("xcall", call(aContext[:], "func", "input"))
	g.fails(runtime.ErrHostLimit, "a call has at most 1 calls of other contexts", "xcall", call(aContext[:], "f", ""))
	if got := g.at.Outcome().XCalls; len(got) != 1 || got[0].Context != aContext || got[0].Function != "func" || string(got[0].Params) != "input" {
		t.Errorf("calls %+v", got)
	}
}

func TestCommit(t *testing.T) {
	g := newGuest(t, runtime.Call{Private: state{}}, nil)
	g.call("storage_write", g.desc("k"), g.desc("v"), 0)
	g.call("private_storage_write", g.desc("k"), g.desc("v"))
	g.call("context_add_member", g.desc(string(aExecutor[:])))
	if out := g.at.Outcome(); out.Committed || len(out.Writes)+len(out.PrivateWrites)+len(out.Changes) != 0 {
		t.Errorf("before the commit: %+v", out)
	}
	g.fails(runtime.ErrTrap, memoryText, "commit", g.desc("short"), g.desc(""))
	g.call("commit", g.desc(string(aContext[:])), g.desc("artifact"))
	out := g.at.Outcome()
	if !out.Committed || out.Root != aContext || string(out.Artifact) != "artifact" || len(out.Writes) != 1 || len(out.PrivateWrites) != 1 || len(out.Changes) != 1 {
		t.Errorf("after the commit: %+v", out)
	}
	g.fails(runtime.ErrTrap, "the method committed twice", "commit", g.desc(string(aContext[:])), g.desc(""))
}

func TestStorage(t *testing.T) {
	stored := state{"old": []byte("1"), "gone": []byte("2")}
	g := newGuest(t, runtime.Call{State: stored}, nil)
	key := func(s string) uint64 { return g.desc(s) }
	g.wantResult(0, "storage_read", key("new"), 1)
	g.wantResult(^uint64(0), "register_len", 1) // what was not found changes no register
	g.wantResult(1, "storage_read", key("old"), 1)
	g.wantRegister(1, "1")
	g.wantResult(1, "storage_write", key("old"), g.desc("one"), 2)
	g.wantRegister(2, "1")
	g.wantResult(1, "storage_read", key("old"), 1)
	g.wantRegister(1, "one")
	g.wantResult(0, "storage_write", key("new"), g.desc(""), 2)
	g.wantResult(1, "storage_read", key("new"), 1)
	g.wantRegister(1, "")
	g.wantResult(1, "storage_remove", key("gone"), 1)
	g.wantRegister(1, "2")
	g.wantResult(0, "storage_remove", key("gone"), 1)
	g.wantResult(0, "storage_read", key("gone"), 1)
	g.wantResult(0, "storage_remove", key("never"), 1)
	g.wantResult(0, "storage_write", key("back"), g.desc("x"), 1)
	g.wantResult(1, "storage_remove", key("back"), 1)
	g.wantResult(0, "storage_write", key("back"), g.desc("y"), 1)
	if len(stored) != 2 || string(stored["old"]) != "1" {
		t.Errorf("the stored state changed: %v", stored)
	}
	g.commit()
	want := "back=y gone- new= old=one"
	if got := writes(g.at.Outcome().Writes); got != want {
		t.Errorf("writes %s, want %s", got, want)
	}
}

func (g *guest) commit() {
	g.t.Helper()
	g.call("commit", g.desc(string(aContext[:])), g.desc("artifact"))
}

func writes(list []runtime.Write) string {
	var b []string
	for _, w := range list {
		if w.Remove {
			b = append(b, string(w.Key)+"-")
		} else {
			b = append(b, string(w.Key)+"="+string(w.Value))
		}
	}
	return strings.Join(b, " ")
}

// Keys of every length have a place of their own; long ones are stored under their hash.
func TestStorageKeys(t *testing.T) {
	g := newGuest(t, runtime.Call{}, func(o *runtime.Options) { o.Limits.KeySize = 1000 })
	sum := sha256.Sum256([]byte(strings.Repeat("k", 33)))
	keys := []string{"", "k", strings.Repeat("k", 32), strings.Repeat("k", 33), strings.Repeat("k", 1000), "\xff" + string(sum[:]), string(sum[:])}
	for i, k := range keys {
		g.wantResult(0, "storage_write", g.desc(k), g.desc(strconv.Itoa(i)), 1)
	}
	for i, k := range keys {
		g.wantResult(1, "storage_read", g.desc(k), 1)
		g.wantRegister(1, strconv.Itoa(i))
	}
	g.fails(runtime.ErrHostLimit, "the limit of the size of a key is 1000, and the guest asked for 1001", "storage_read", g.desc(strings.Repeat("k", 1001)), 1)
	g.commit()
	for i, w := range g.at.Outcome().Writes {
		if len(w.Key) > runtime.MaxStoredKey {
			t.Errorf("write %d has a key of %d bytes", i, len(w.Key))
		}
	}
}

func TestStorageLimits(t *testing.T) {
	g := newGuest(t, runtime.Call{Private: state{}}, func(o *runtime.Options) { o.Limits.ValueSize, o.Limits.WriteTotal = 500, 1000 })
	big := g.desc(strings.Repeat("v", 501))
	g.fails(runtime.ErrHostLimit, "the limit of the size of a value is 500, and the guest asked for 501", "storage_write", g.desc("k"), big, 1)
	g.fails(runtime.ErrHostLimit, "the limit of the size of a value is 500, and the guest asked for 501", "private_storage_write", g.desc("k"), big)
	fits := g.desc(strings.Repeat("v", 500))
	for range 5 {
		g.call("storage_write", g.desc("k"), fits, 1) // the same entry counts once
	}
	g.call("private_storage_write", g.desc("k"), g.desc("v"))
	g.fails(runtime.ErrHostLimit, "the limit of the size of all writes is 1000, and the guest asked for 1260", "storage_write", g.desc("x"), g.desc(strings.Repeat("v", 372)), 1)
}

func TestPrivateStorage(t *testing.T) {
	g := newGuest(t, runtime.Call{}, nil)
	g.wantResult(0, "private_storage_write", g.desc("k"), g.desc("v"))
	g.wantResult(0, "private_storage_read", g.desc("k"), 1)
	g.wantResult(0, "private_storage_remove", g.desc("k"), 1)

	g = newGuest(t, runtime.Call{State: state{"k": []byte("shared")}, Private: state{"k": []byte("own"), "x": nil}}, nil)
	g.wantResult(1, "private_storage_read", g.desc("k"), 1)
	g.wantRegister(1, "own")
	g.wantResult(1, "private_storage_write", g.desc("k"), g.desc("new"))
	g.wantResult(1, "private_storage_remove", g.desc("x"), 1)
	g.wantResult(0, "private_storage_remove", g.desc("x"), 1)
	g.wantResult(1, "storage_read", g.desc("k"), 1)
	g.wantRegister(1, "shared")
	g.commit()
	if out := g.at.Outcome(); writes(out.PrivateWrites) != "k=new x-" || len(out.Writes) != 0 {
		t.Errorf("%+v", out)
	}
}

// broken is a node whose parts fail.
type broken struct{}

var errBroken = errors.New("broken")

func (broken) Get(context.Context, []byte) ([]byte, bool, error) { return nil, false, errBroken }

func (broken) Members(context.Context) ([]id.ID, error) { return nil, errBroken }

func (broken) IsMember(context.Context, id.ID) (bool, error) { return false, errBroken }

func (broken) ResolveAlias(context.Context, string) (id.ID, bool, error) {
	return id.ID{}, false, errBroken
}

func (broken) Open(context.Context, id.ID) (io.ReadCloser, bool, error) { return nil, false, errBroken }

func (broken) Create(context.Context) (runtime.BlobWriter, error) { return nil, errBroken }

func (broken) Announce(context.Context, id.ID, id.ID) (bool, error) { return false, errBroken }
func (broken) Read([]byte) (int, error)                             { return 0, errBroken }

// What the node fails at is told apart from what the guest did.
func TestHostFailures(t *testing.T) {
	b := broken{}
	g := newGuest(t, runtime.Call{State: b, Private: b, Blobs: b, Directory: b}, func(o *runtime.Options) { o.Rand = b })
	k, i := g.desc("k"), g.desc(string(aContext[:]))
	for _, f := range []struct {
		name string
		args []uint64
	}{
		{"storage_read", []uint64{k, 1}},
		{"storage_write", []uint64{k, k, 1}},
		{"storage_remove", []uint64{k, 1}},
		{"private_storage_read", []uint64{k, 1}},
		{"private_storage_remove", []uint64{k, 1}},
		{"context_members", []uint64{1}},
		{"context_is_member", []uint64{i}},
		{"context_resolve_alias", []uint64{k, 1}},
		{"context_create", []uint64{k, i, k, k}},
		{"blob_create", nil},
		{"blob_open", []uint64{i}},
		{"blob_announce_to_context", []uint64{i, i}},
		{"random_bytes", []uint64{k}},
		{"send_proposal", []uint64{k, i}},
		{"read_root_state", []uint64{1}},
		{"persist_root_state", []uint64{k, 0, 0}},
	} {
		if _, err := g.at.Call(f.name, f.args...); !errors.Is(err, runtime.ErrHost) || !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", f.name, err)
		}
	}
}

func TestTimeAndRandomness(t *testing.T) {
	g := newGuest(t, runtime.Call{}, nil)
	to, read := g.space(8)
	g.call("time_now", to)
	if got := int64(binary.LittleEndian.Uint64(read())); got != now.UnixNano() {
		t.Errorf("time %d, want %d", got, now.UnixNano())
	}
	for _, n := range []int{0, 7, 9} {
		to, _ := g.space(n)
		g.fails(runtime.ErrTrap, memoryText, "time_now", to)
	}
	to, read = g.space(3)
	g.call("random_bytes", to)
	if got := read(); !bytes.Equal(got, []byte{1, 1, 1}) {
		t.Errorf("random bytes %x", got)
	}
}

// Applications decide by the time which of two writes is the last one, so it never stands still and never goes back.
func TestTime_NeverGoesBack(t *testing.T) {
	clock := now
	e := newEngine(t, func(o *runtime.Options) { o.Now = func() time.Time { return clock } })
	m := compile(t, e, `
		import env.time_now I
		import env.value_return I
		memory 1
		desc 16 64 8
		data 32 "\x00\x00\x00\x00\x00\x00\x00\x00"
		desc 40 64 8
		func run
		i64.const 16
		call env.time_now
		i64.const 32
		call env.value_return
		end func`)
	ask := func() int64 {
		t.Helper()
		out, err := e.Run(t.Context(), m, runtime.Call{Method: "run"})
		if err != nil {
			t.Fatal(err)
		}
		got := int64(binary.LittleEndian.Uint64(out.Returned))
		if out.Told != got {
			t.Errorf("the outcome says %d, the guest was told %d", out.Told, got)
		}
		return got
	}
	start := now.UnixNano()
	var got []int64
	for _, at := range []time.Duration{0, 0, -time.Hour, time.Second, time.Second - 1} {
		clock = now.Add(at)
		got = append(got, ask()-start)
	}
	second := int64(time.Second)
	if want := []int64{0, 1, 2, second, second + 1}; !slices.Equal(got, want) {
		t.Errorf("times after the first: %d, want %d", got, want)
	}
	e.TellAfter(start + 3*second) // what was told before a restart
	e.TellAfter(start)
	if got := ask() - start; got != 3*second+1 {
		t.Errorf("time %d after one of an earlier process, want %d", got, 3*second+1)
	}
}

func TestEd25519Verify(t *testing.T) {
	g := newGuest(t, runtime.Call{}, nil)
	private := ed25519.NewKeyFromSeed(make([]byte, 32))
	public, message := string(private.Public().(ed25519.PublicKey)), "message"
	signature := string(ed25519.Sign(private, []byte(message)))
	for name, tt := range map[string]struct {
		signature, key, message string
		want                    uint64
	}{
		"good":            {signature, public, message, 1},
		"other message":   {signature, public, "Message", 0},
		"other key":       {signature, strings.Repeat("k", 32), message, 0},
		"short key":       {signature, public[:31], message, 0},
		"no key":          {signature, "", message, 0},
		"short signature": {signature[:63], public, message, 0},
		"long signature":  {signature + "x", public, message, 0},
	} {
		if got := g.call("ed25519_verify", g.desc(tt.signature), g.desc(tt.key), g.desc(tt.message)); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

// Applications reach nothing outside of their node.
func TestFetchIsBlocked(t *testing.T) {
	g := newGuest(t, runtime.Call{}, nil)
	g.wantResult(1, "fetch", g.desc("http://127.0.0.1/"), g.desc("GET"), g.desc(""), g.desc(""), 3)
	g.wantRegister(3, "fetch is not available to applications")
}

func TestProposals(t *testing.T) {
	g := newGuest(t, runtime.Call{}, func(o *runtime.Options) { o.Limits.Proposals = 1 })
	to, read := g.space(32)
	short, _ := g.space(31)
	g.fails(runtime.ErrTrap, memoryText, "send_proposal", g.desc("actions"), short)
	g.call("send_proposal", g.desc("actions"), to)
	g.fails(runtime.ErrHostLimit, "a call has at most 1 proposals", "send_proposal", g.desc(""), to)
	g.call("approve_proposal", g.desc(string(aContext[:])))
	g.fails(runtime.ErrHostLimit, "a call has at most 1 approvals", "approve_proposal", g.desc(string(aContext[:])))
	g.commit()
	out := g.at.Outcome()
	if len(out.Proposals) != 1 || string(out.Proposals[0].Actions) != "actions" || out.Proposals[0].ID != id.ID(read()) || out.Proposals[0].ID == (id.ID{}) || len(out.Approvals) != 1 || out.Approvals[0] != aContext {
		t.Errorf("%+v", out)
	}
}

// people is a context with two members and an alias.
type people struct{ a, b id.ID }

func (p people) Members(context.Context) ([]id.ID, error) { return []id.ID{p.a, p.b}, nil }
func (p people) IsMember(_ context.Context, m id.ID) (bool, error) {
	return m == p.a || m == p.b, nil
}

func (p people) ResolveAlias(_ context.Context, name string) (id.ID, bool, error) {
	return p.a, name == "alice", nil
}

func TestDirectory(t *testing.T) {
	g := newGuest(t, runtime.Call{}, nil)
	g.wantResult(0, "context_is_member", g.desc(string(aContext[:])))
	g.wantResult(0, "context_resolve_alias", g.desc("alice"), 1)
	g.call("context_members", 1)
	g.wantRegister(1, "\x00\x00\x00\x00")

	g = newGuest(t, runtime.Call{Directory: people{aContext, aExecutor}}, nil)
	g.wantResult(1, "context_is_member", g.desc(string(aExecutor[:])))
	g.wantResult(0, "context_is_member", g.desc(strings.Repeat("x", 32)))
	g.fails(runtime.ErrTrap, memoryText, "context_is_member", g.desc("short"))
	g.call("context_members", 1)
	g.wantRegister(1, "\x02\x00\x00\x00"+string(aContext[:])+string(aExecutor[:]))
	g.wantResult(1, "context_resolve_alias", g.desc("alice"), 1)
	g.wantRegister(1, string(aContext[:]))
	g.wantResult(0, "context_resolve_alias", g.desc("bob"), 1)
}

func TestChangesOfContexts(t *testing.T) {
	g := newGuest(t, runtime.Call{Directory: people{aContext, aExecutor}}, func(o *runtime.Options) { o.Limits.Changes, o.Limits.InitSize = 5, 4 })
	app, member := g.desc(string(aContext[:])), g.desc(string(aExecutor[:]))
	g.fails(runtime.ErrTrap, "alias already exists: alice", "context_create", g.desc("near"), app, g.desc("{}"), g.desc("alice"))
	g.fails(runtime.ErrHostLimit, "the limit of the size of a context's input is 4, and the guest asked for 5", "context_create", g.desc("near"), app, g.desc("12345"), 0)
	g.call("context_create", g.desc("near"), app, g.desc("{}"), g.desc("bob"))
	g.call("context_create", g.desc(""), app, g.desc(""), 0)
	g.call("context_delete", app)
	g.call("context_add_member", member)
	g.call("context_remove_member", member)
	g.fails(runtime.ErrHostLimit, "a call has at most 5 changes of contexts", "context_delete", app)
	g.commit()
	want := []runtime.ContextChange{
		{Kind: runtime.CreateContext, Protocol: "near", Application: aContext, Input: []byte("{}"), Alias: "bob"},
		{Kind: runtime.CreateContext, Application: aContext},
		{Kind: runtime.DeleteContext, Context: aContext},
		{Kind: runtime.AddMember, Member: aExecutor},
		{Kind: runtime.RemoveMember, Member: aExecutor},
	}
	if got := g.at.Outcome().Changes; fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("changes %+v, want %+v", got, want)
	}
}

// memoryBlobs are blobs in memory. It counts what is open.
type memoryBlobs struct {
	content map[id.ID][]byte
	readers int
	writers int
}

func newBlobs() *memoryBlobs { return &memoryBlobs{content: map[id.ID][]byte{}} }

type memoryReader struct {
	io.Reader
	of *memoryBlobs
}

func (r memoryReader) Close() error {
	r.of.readers--
	return nil
}

type memoryWriter struct {
	bytes.Buffer
	of *memoryBlobs
}

func (w *memoryWriter) Finish(context.Context) (id.ID, error) {
	w.of.writers--
	blob := id.ID(sha256.Sum256(w.Bytes()))
	w.of.content[blob] = bytes.Clone(w.Bytes())
	return blob, nil
}

func (w *memoryWriter) Discard() { w.of.writers-- }

func (b *memoryBlobs) Open(_ context.Context, blob id.ID) (io.ReadCloser, bool, error) {
	content, ok := b.content[blob]
	if !ok {
		return nil, false, nil
	}
	b.readers++
	return memoryReader{iotestOneByte{bytes.NewReader(content)}, b}, true, nil
}

func (b *memoryBlobs) Create(context.Context) (runtime.BlobWriter, error) {
	b.writers++
	return &memoryWriter{of: b}, nil
}

func (b *memoryBlobs) Announce(_ context.Context, blob, _ id.ID) (bool, error) {
	_, ok := b.content[blob]
	return ok, nil
}

// iotestOneByte reads one byte at a time.
type iotestOneByte struct{ r io.Reader }

func (o iotestOneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(1, len(p))]) }

func TestBlobs(t *testing.T) {
	blobs := newBlobs()
	g := newGuest(t, runtime.Call{Blobs: blobs}, func(o *runtime.Options) {
		o.Limits.BlobHandles, o.Limits.BlobChunkSize, o.Limits.BlobTotal = 2, 6, 15
	})
	fd := g.call("blob_create")
	g.wantResult(5, "blob_write", fd, g.desc("hello"))
	g.wantResult(6, "blob_write", fd, g.desc(" world"))
	g.wantResult(0, "blob_write", fd, g.desc(""))
	g.fails(runtime.ErrHostLimit, "the limit of the size of a part of a blob is 6, and the guest asked for 7", "blob_write", fd, g.desc("1234567"))
	part, read := g.space(6)
	g.fails(runtime.ErrTrap, "invalid blob handle", "blob_read", fd, part)
	to, blobID := g.space(32)
	short, _ := g.space(31)
	g.fails(runtime.ErrTrap, memoryText, "blob_close", fd, short)
	g.wantResult(1, "blob_close", fd, to)
	want := sha256.Sum256([]byte("hello world"))
	if !bytes.Equal(blobID(), want[:]) {
		t.Fatalf("blob %x", blobID())
	}
	g.fails(runtime.ErrTrap, "invalid blob handle", "blob_write", fd, g.desc("x"))
	g.fails(runtime.ErrTrap, "invalid blob handle", "blob_close", fd, to)

	r := g.call("blob_open", g.desc(string(want[:])))
	g.wantResult(6, "blob_read", r, part)
	if got := string(read()); got != "hello " {
		t.Errorf("read %q", got)
	}
	g.fails(runtime.ErrTrap, "invalid blob handle", "blob_write", r, g.desc("x"))
	g.wantResult(5, "blob_read", r, part)
	g.wantResult(0, "blob_read", r, part)
	big, _ := g.space(7)
	g.fails(runtime.ErrHostLimit, "the limit of the size of a part of a blob is 6, and the guest asked for 7", "blob_read", r, big)
	missing := g.call("blob_open", g.desc(string(aContext[:])))
	g.wantResult(0, "blob_read", missing, part)
	g.fails(runtime.ErrHostLimit, "a call has at most 2 open blobs", "blob_open", g.desc(string(want[:])))
	g.fails(runtime.ErrHostLimit, "a call has at most 2 open blobs", "blob_create")
	g.wantResult(1, "blob_close", missing, to)
	if !bytes.Equal(blobID(), aContext[:]) {
		t.Errorf("a closed reader's id: %x", blobID())
	}
	fd = g.call("blob_create")
	g.fails(runtime.ErrHostLimit, "the limit of the size of all that is written to blobs is 15, and the guest asked for 16", "blob_write", fd, g.desc("12345"))
	g.wantResult(1, "blob_announce_to_context", g.desc(string(want[:])), g.desc(string(aContext[:])))
	g.wantResult(0, "blob_announce_to_context", g.desc(string(aContext[:])), g.desc(string(aContext[:])))
	g.at.Close()
	if blobs.readers != 0 || blobs.writers != 0 {
		t.Errorf("%d readers and %d writers are open after the call", blobs.readers, blobs.writers)
	}

	g = newGuest(t, runtime.Call{}, nil)
	g.fails(runtime.ErrUnsupported, "the host has no blobs for this call", "blob_create")
}

// The document functions: a context whose state is one document, on two nodes.
func TestDocument(t *testing.T) {
	nodeA, nodeB := state{}, state{}
	const later = uint64(1_800_000_000_000_000_000)
	step := func(to state, do func(g *guest)) runtime.Outcome {
		t.Helper()
		g := newGuest(t, runtime.Call{Context: aContext, State: to}, nil)
		do(g)
		out := g.at.Outcome()
		to.apply(out.Writes)
		return out
	}
	first := step(nodeA, func(g *guest) {
		g.wantResult(0, "read_root_state", 1)
		g.wantResult(0, "flush_delta")
		g.call("persist_root_state", g.desc("draft"), 0, 0)
		g.call("persist_root_state", g.desc("one"), 0, 0)
		g.wantResult(1, "read_root_state", 1)
		g.wantRegister(1, "one")
		g.wantResult(1, "flush_delta")
		g.wantResult(0, "flush_delta")
	})
	own := sha256.Sum256([]byte("one"))
	if root := sha256.Sum256(own[:]); !first.Committed || first.Root != root || len(first.Writes) != 2 {
		t.Fatalf("%+v", first)
	}
	apply := func(delta []byte) func(*guest) {
		return func(g *guest) { g.call("apply_storage_delta", g.desc(string(delta))) }
	}
	if out := step(nodeB, apply(first.Artifact)); out.Root != first.Root {
		t.Errorf("the other node has root %s, want %s", out.Root, first.Root)
	}
	second := step(nodeA, func(g *guest) {
		g.call("persist_root_state", g.desc("two"), 5, later)
		g.call("flush_delta")
	})
	step(nodeB, apply(second.Artifact))
	if out := step(nodeB, apply(first.Artifact)); out.Root != second.Root { // what is older changes nothing
		t.Errorf("root %s, want %s", out.Root, second.Root)
	}
	step(nodeB, func(g *guest) {
		g.call("read_root_state", 1)
		g.wantRegister(1, "two")
		g.fails(runtime.ErrTrap, "the delta cannot be applied: it does not consist of actions", "apply_storage_delta", g.desc("\x01"))
		for n := range second.Artifact {
			if _, err := g.at.Call("apply_storage_delta", g.desc(string(second.Artifact[:n]))); !errors.Is(err, runtime.ErrTrap) {
				t.Errorf("a delta cut to %d bytes: %v", n, err)
			}
		}
		other := bytes.Replace(second.Artifact, aContext[:], aExecutor[:], 1)
		g.fails(runtime.ErrTrap, "the delta cannot be applied: the state is not that of a single document", "apply_storage_delta", g.desc(string(other)))
	})
	index := sha256.Sum256(append([]byte{0}, aContext[:]...))
	nodeB[string(index[:])] = append(nodeB[string(index[:])], 0)
	step(nodeB, func(g *guest) {
		g.fails(runtime.ErrUnsupported, "the state is not that of a single document", "persist_root_state", g.desc("x"), 0, 0)
	})
}

// docs/applications.md names every function that the host has.
func TestEveryFunctionIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../../docs/applications.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range runtime.EnvFunctions() {
		if !bytes.Contains(page, []byte("`"+f.Name+"(")) {
			t.Errorf("docs/applications.md does not name %s", f.Name)
		}
	}
}
