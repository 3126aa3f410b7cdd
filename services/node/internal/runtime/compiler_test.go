package runtime_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/runtime"
)

// bare makes a module of functions without parameters, all with one body, that the host could not tell from an honest
// one by its size. locals declares them as a module does.
func bare(n int, locals, body []byte) []byte {
	count := func(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }
	section := func(id byte, content ...[]byte) []byte {
		c := bytes.Join(content, nil)
		return append(append([]byte{id}, count(len(c))...), c...)
	}
	code := bytes.Join([][]byte{locals, body, {0x0b}}, nil)
	return bytes.Join([][]byte{
		[]byte("\x00asm\x01\x00\x00\x00"), section(1, []byte("\x01\x60\x00\x00")), section(3, count(n), make([]byte, n)),
		section(5, []byte("\x01\x00\x01")), section(7, []byte("\x02\x04init\x00\x00\x06memory\x02\x00")),
		section(10, count(n), bytes.Repeat(append(count(len(code)), code...), n)),
	}, nil)
}

// A few thousand bytes that the compiler would take minutes or gigabytes for are refused before it sees them. All of
// them are leaf functions that run in no time.
func TestCompile_SmallModulesThatAreHardToCompileAreRefused(t *testing.T) {
	e := newEngine(t, nil)
	e.BeforeCompiling(func() { t.Error("it is compiled") })
	load := "\x41\x00\x28\x02\x00" // a value that only the run knows
	leb := func(n int) string { return string(binary.AppendUvarint(nil, uint64(n))) }
	declare := func(n int) []byte { return []byte("\x01" + leb(n) + "\x7f") }
	sets := func(branches, locals int) []byte {
		var b strings.Builder
		for i := range branches {
			b.WriteString(load + "\x04\x40\x41\x07\x21" + leb(i%locals) + "\x0b")
		}
		for i := range locals {
			b.WriteString("\x20" + leb(i) + "\x1a")
		}
		return []byte(b.String())
	}
	table := func(n int) []byte {
		return []byte("\x02\x40" + load + "\x0e" + leb(n) + strings.Repeat("\x00", n) + "\x00\x0b")
	}
	const complexity, locals = "its functions are too complex to be compiled", "its functions have more than 2000000 locals together"
	for name, tt := range map[string]struct {
		wasm []byte
		text string
	}{
		"a table of 400 000 branches":         {bare(1, []byte{0}, table(400_000)), complexity},
		"tables of branches in many leaves":   {bare(3, []byte{0}, table(39_000)), complexity},
		"17 000 exits of a block":             {bare(1, []byte{0}, []byte("\x02\x40"+strings.Repeat(load+"\x0d\x00", 17_000)+"\x0b")), complexity},
		"40 branches between 40 000 locals":   {bare(1, declare(40_000), sets(40, 40_000)), complexity},
		"4000 branches between 1000 locals":   {bare(1, declare(1000), sets(4000, 1000)), complexity},
		"50 000 locals in each of 50 leaves":  {bare(50, declare(50_000), nil), locals},
		"blocks that pass on too many values": {bare2(900, 4000), complexity},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := e.Compile(t.Context(), tt.wasm)
			if !errors.Is(err, runtime.ErrBadModule) || !strings.HasSuffix(err.Error(), tt.text) {
				t.Errorf("a module of %d bytes: %v, want %q", len(tt.wasm), err, tt.text)
			}
		})
	}
}

// bare2 is a module whose function passes width values through n blocks.
func bare2(width, n int) []byte {
	values := strings.Repeat("\x7f", width)
	leb := func(n int) string { return string(binary.AppendUvarint(nil, uint64(n))) }
	m := bare(1, []byte{0}, []byte(strings.Repeat("\x41\x00\x28\x02\x00", width)+strings.Repeat("\x41\x00\x28\x02\x00\x04\x01\x05\x0b", n)+strings.Repeat("\x1a", width)))
	types := "\x02\x60\x00\x00\x60" + leb(width) + values + leb(width) + values
	return bytes.Replace(m, []byte("\x01\x04\x01\x60\x00\x00"), []byte("\x01"+leb(len(types))+types), 1)
}

// as is a caller with a key.
func as(ctx context.Context, key string) context.Context {
	return caller.With(ctx, caller.Caller{Key: key})
}

// loads asks an engine for modules, each in a goroutine of its own.
type loads struct {
	t       *testing.T
	e       *runtime.Engine
	results map[byte]chan error
}

func (l *loads) load(ctx context.Context, module byte) {
	result := make(chan error, 1)
	l.results[module] = result
	wasm := numbered(l.t, int(module))
	go func() {
		_, err := l.e.Load(ctx, [32]byte{module}, func(context.Context) ([]byte, error) { return wasm, nil })
		result <- err
	}()
	synctest.Wait()
}

// slow is an engine whose compiler works on a module until something is sent to next.
func slow(t *testing.T) (l *loads, next chan struct{}, compiling func() int) {
	t.Helper()
	begun := 0
	next, starts := make(chan struct{}), make(chan struct{}, 100)
	l = &loads{t: t, e: newEngine(t, nil), results: map[byte]chan error{}}
	l.e.BeforeCompiling(func() { starts <- struct{}{}; <-next })
	return l, next, func() int {
		synctest.Wait()
		for len(starts) > 0 {
			<-starts
			begun++
		}
		return begun
	}
}

// Whoever makes the compiler work hard, on as many modules as can be, holds up itself alone.
func TestLoad_OneKeyCannotHoldTheCompiler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, next, compiling := slow(t)
		for i := byte(1); i <= 5; i++ {
			l.load(as(t.Context(), "attacker"), i)
		}
		if n := compiling(); n != 1 {
			t.Fatalf("the attacker has %d compilers, want 1", n)
		}
		l.load(as(t.Context(), "innocent"), 6)
		if n := compiling(); n != 2 {
			t.Fatal("the other key waits for the attacker's modules")
		}
		close(next)
		for i, result := range l.results {
			if err := <-result; err != nil {
				t.Errorf("module %d: %v", i, err)
			}
		}
	})
}

// Who asks for a module that an attacker has asked for, too, does not wait where the attacker's modules wait.
func TestLoad_SharedModuleDoesNotWaitInTheAttackersQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, next, compiling := slow(t)
		l.load(as(t.Context(), "attacker"), 1)
		l.load(as(t.Context(), "attacker"), 2)
		l.load(as(t.Context(), "innocent"), 2)
		if n := compiling(); n != 2 {
			t.Errorf("%d modules are compiled, want 2: one for each key", n)
		}
		close(next)
		for i, result := range l.results {
			if err := <-result; err != nil {
				t.Errorf("module %d: %v", i, err)
			}
		}
		if n := compiling(); n != 2 {
			t.Errorf("two modules were compiled %d times", n)
		}
	})
}

// Asking for modules and hanging up leaves no queue behind.
func TestLoad_NobodyWaitsAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, next, compiling := slow(t)
		ctx, cancel := context.WithCancel(as(t.Context(), "attacker"))
		for i := byte(1); i <= 20; i++ {
			l.load(ctx, i)
		}
		cancel()
		for i, result := range l.results {
			if err := <-result; !errors.Is(err, context.Canceled) {
				t.Errorf("module %d: %v", i, err)
			}
		}
		next <- struct{}{} // the one at which the compiler was
		if n := compiling(); n != 1 {
			t.Errorf("%d modules are compiled that nobody waits for", n-1)
		}
		l.load(as(t.Context(), "attacker"), 7) // one of those that were given up
		close(next)
		if err := <-l.results[7]; err != nil {
			t.Error(err)
		}
	})
}

// The compiler cannot be interrupted. The end of the node does not wait for it.
func TestClose_DoesNotWaitForTheCompiler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, next, compiling := slow(t)
		l.load(as(t.Context(), "a"), 1)
		l.load(as(t.Context(), "a"), 2)
		if compiling() != 1 {
			t.Fatal("nothing is compiled")
		}
		began := time.Now()
		if err := l.e.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %s", took)
		}
		for i, result := range l.results {
			if err := <-result; !errors.Is(err, runtime.ErrClosed) {
				t.Errorf("module %d: %v, want ErrClosed", i, err)
			}
		}
		close(next)
		if n := compiling(); n != 1 {
			t.Error("a module is compiled after the end")
		}
	})
}
