package runtime_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// assemble makes a module from lines of text:
//
//	import env.storage_read II>i    a function from the host, in the letters of its type (i, I, f, F)
//	memory 1 [max]                  the memory, which is exported; "memory 1 private" is not
//	table 1 [max]                   a table of functions, all of them the first function of the module
//	data 16 "text\x00"              text in the memory
//	desc 16 1024 5                  a descriptor at 16: address 1024, length 5
//	global 5                        a mutable i32
//	start name                      the function to run first
//	func name i>i [locals i]        a function, exported by its name; instructions follow, one a line, until "end func"
//
// Instructions are those of the table below, with numbers as their immediates; call takes a name.
func assemble(t testing.TB, source string) []byte {
	t.Helper()
	a := &assembler{t: t, index: map[string]uint32{}}
	lines := bufio.NewScanner(strings.NewReader(source))
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 0 && fields[0] != "#" {
			a.line(fields, lines.Text())
		}
	}
	return a.module()
}

type assembler struct {
	t       testing.TB
	index   map[string]uint32
	types   [][]byte
	imports [][]byte
	funcs   []asmFunc
	current *asmFunc
	data    [][]byte
	memory  []byte
	private bool
	table   []byte
	globals [][]byte
	start   string
}

type asmFunc struct {
	name   string
	typ    uint32
	locals []byte
	body   []any // bytes, and names to be resolved
}

var opcodes = map[string][]byte{
	"unreachable": {0}, "nop": {1}, "block": {2}, "loop": {3}, "if": {4}, "else": {5}, "end": {0xb}, "br": {0xc}, "br_if": {0xd}, "return": {0xf},
	"call": {0x10}, "call_indirect": {0x11}, "drop": {0x1a}, "select": {0x1b},
	"local.get": {0x20}, "local.set": {0x21}, "local.tee": {0x22}, "global.get": {0x23}, "global.set": {0x24},
	"i32.load": {0x28, 0, 0}, "i64.load": {0x29, 0, 0}, "i32.load8_u": {0x2d, 0, 0}, "i32.store": {0x36, 0, 0}, "i64.store": {0x37, 0, 0}, "i32.store8": {0x3a, 0, 0},
	"memory.size": {0x3f, 0}, "memory.grow": {0x40, 0}, "i32.const": {0x41}, "i64.const": {0x42},
	"i32.eqz": {0x45}, "i32.eq": {0x46}, "i32.ne": {0x47}, "i32.lt_u": {0x49}, "i64.eqz": {0x50}, "i64.lt_u": {0x54},
	"i32.add": {0x6a}, "i32.sub": {0x6b}, "i32.div_u": {0x6e}, "i64.add": {0x7c}, "i64.sub": {0x7d}, "i64.mul": {0x7e},
	"i32.wrap_i64": {0xa7}, "i64.extend_i32_u": {0xad}, "memory.fill": {0xfc, 11, 0}, "memory.copy": {0xfc, 10, 0, 0}, "table.grow": {0xfc, 15}, "ref.null": {0xd0},
}

func (a *assembler) line(f []string, text string) {
	if a.current != nil {
		a.instruction(f)
		return
	}
	switch f[0] {
	case "import":
		module, name, _ := strings.Cut(f[1], ".")
		typ := ""
		if len(f) > 2 {
			typ = f[2]
		}
		a.index[f[1]] = uint32(len(a.imports))
		a.imports = append(a.imports, append(append(text8(module), text8(name)...), append([]byte{0}, uleb(a.typ(typ))...)...))
	case "memory":
		a.private = f[len(f)-1] == "private"
		if a.private {
			f = f[:len(f)-1]
		}
		a.memory = limits(f[1:])
	case "table":
		a.table = limits(f[1:])
	case "global":
		a.globals = append(a.globals, append([]byte{0x7f, 1, 0x41}, append(sleb(number(f[1])), 0xb)...))
	case "start":
		a.start = f[1]
	case "data":
		content, err := strconv.Unquote(text[strings.Index(text, `"`):])
		if err != nil {
			a.t.Fatal(err)
		}
		a.addData(number(f[1]), content)
	case "desc":
		a.addData(number(f[1]), string(desc(uint64(number(f[2])), uint64(number(f[3])))))
	case "func":
		fn := asmFunc{name: f[1]}
		typ := ""
		for i := 2; i < len(f); i++ {
			if f[i] == "locals" {
				fn.locals = valueTypes(f[i+1])
				break
			}
			typ = f[i]
		}
		fn.typ = a.typ(typ)
		a.funcs = append(a.funcs, fn)
		a.current = &a.funcs[len(a.funcs)-1]
	default:
		a.t.Fatalf("line %q", text)
	}
}

func (a *assembler) addData(at int64, content string) {
	d := append([]byte{0, 0x41}, sleb(at)...)
	d = append(append(d, 0xb), uleb(uint32(len(content)))...)
	a.data = append(a.data, append(d, content...))
}

func desc(at, size uint64) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, at), size)
}

func (a *assembler) instruction(f []string) {
	fn := a.current
	if f[0] == "end" && len(f) > 1 {
		a.current = nil
		return
	}
	code, ok := opcodes[f[0]]
	if !ok {
		a.t.Fatalf("instruction %q", f[0])
	}
	fn.body = append(fn.body, code)
	switch {
	case f[0] == "call":
		fn.body = append(fn.body, f[1])
	case f[0] == "call_indirect":
		fn.body = append(fn.body, append(uleb(a.typ(strings.Join(f[1:], ""))), 0))
	case f[0] == "block" || f[0] == "loop" || f[0] == "if":
		if len(f) > 1 {
			fn.body = append(fn.body, valueTypes(f[1]))
		} else {
			fn.body = append(fn.body, []byte{0x40})
		}
	case f[0] == "ref.null":
		fn.body = append(fn.body, []byte{0x70})
	case strings.HasSuffix(f[0], ".const"):
		fn.body = append(fn.body, sleb(number(f[1])))
	case len(f) > 1:
		fn.body = append(fn.body, uleb(uint32(number(f[1]))))
	}
}

func number(s string) int64 {
	v, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		u, err := strconv.ParseUint(s, 0, 64)
		if err != nil {
			panic(err)
		}
		return int64(u)
	}
	return v
}

func valueTypes(s string) (b []byte) {
	for _, l := range s {
		b = append(b, map[rune]byte{'i': 0x7f, 'I': 0x7e, 'f': 0x7d, 'F': 0x7c}[l])
	}
	return b
}

func (a *assembler) typ(s string) uint32 {
	params, results, _ := strings.Cut(s, ">")
	b := []byte{0x60}
	for _, list := range []string{params, results} {
		b = append(append(b, uleb(uint32(len(list)))...), valueTypes(list)...)
	}
	for i, have := range a.types {
		if string(have) == string(b) {
			return uint32(i)
		}
	}
	a.types = append(a.types, b)
	return uint32(len(a.types) - 1)
}

func (a *assembler) module() []byte {
	for i, fn := range a.funcs {
		a.index[fn.name] = uint32(len(a.imports) + i)
	}
	var funcs, codes, exports [][]byte
	for _, fn := range a.funcs {
		funcs = append(funcs, uleb(fn.typ))
		exports = append(exports, append(append(text8(fn.name), 0), uleb(a.index[fn.name])...))
		code := uleb(uint32(len(fn.locals)))
		for _, l := range fn.locals {
			code = append(code, 1, l)
		}
		for _, part := range fn.body {
			switch part := part.(type) {
			case []byte:
				code = append(code, part...)
			case string:
				i, ok := a.index[part]
				if !ok {
					a.t.Fatalf("call of %s", part)
				}
				code = append(code, uleb(i)...)
			}
		}
		code = append(code, 0xb)
		codes = append(codes, append(uleb(uint32(len(code))), code...))
	}
	if a.memory != nil && !a.private {
		exports = append(exports, append(text8("memory"), 2, 0))
	}
	out := []byte("\x00asm\x01\x00\x00\x00")
	out = append(out, vec(1, a.types)...)
	out = append(out, vec(2, a.imports)...)
	out = append(out, vec(3, funcs)...)
	if a.table != nil {
		out = append(out, vec(4, [][]byte{append([]byte{0x70}, a.table...)})...)
	}
	if a.memory != nil {
		out = append(out, vec(5, [][]byte{a.memory})...)
	}
	out = append(out, vec(6, a.globals)...)
	out = append(out, vec(7, exports)...)
	if a.start != "" {
		out = append(out, sized(8, uleb(a.index[a.start]))...)
	}
	if a.table != nil {
		out = append(out, vec(9, [][]byte{append([]byte{0, 0x41, 0, 0xb, 1}, uleb(uint32(len(a.imports)))...)})...)
	}
	out = append(out, vec(10, codes)...)
	return append(out, vec(11, a.data)...)
}

func limits(f []string) []byte {
	b := append([]byte{byte(len(f) - 1)}, uleb(uint32(number(f[0])))...)
	if len(f) > 1 {
		b = append(b, uleb(uint32(number(f[1])))...)
	}
	return b
}

func vec(section byte, items [][]byte) []byte {
	if len(items) == 0 {
		return nil
	}
	b := uleb(uint32(len(items)))
	for _, i := range items {
		b = append(b, i...)
	}
	return sized(section, b)
}

func sized(section byte, b []byte) []byte {
	return append(append([]byte{section}, uleb(uint32(len(b)))...), b...)
}

func text8(s string) []byte { return append(uleb(uint32(len(s))), s...) }

func uleb(v uint32) []byte { return binary.AppendUvarint(nil, uint64(v)) }

func sleb(v int64) (b []byte) {
	for {
		low := byte(v & 0x7f)
		v >>= 7
		if v == 0 && low&0x40 == 0 || v == -1 && low&0x40 != 0 {
			return append(b, low)
		}
		b = append(b, low|0x80)
	}
}

// writer is a guest with one descriptor after the other from 0 on, and their content from 4096 on: a caller of host
// functions. It returns the source of the memory and the address of each descriptor.
func described(content ...string) (source string, at []int) {
	next := 4096
	var b strings.Builder
	b.WriteString("memory 2\n")
	for i, c := range content {
		at = append(at, 16*i)
		fmt.Fprintf(&b, "desc %d %d %d\ndata %d %q\n", 16*i, next, len(c), next, c)
		next += len(c)
	}
	return b.String(), at
}
