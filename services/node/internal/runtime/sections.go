package runtime

import (
	"errors"
	"fmt"
	"strconv"
)

// The rewriting of each section of a module (WebAssembly Core Specification, section 5.5).

// typeSection appends the types of tick and overflow, and one for the body of every function with several results.
func (r *rewriter) typeSection(c *cursor) []byte {
	n := c.count()
	for range n {
		r.types = append(r.types, c.funcType())
	}
	all := append(r.types[:n:n], tickType, overflowType)
	for _, t := range r.types {
		all = append(all, funcType{results: t.results})
	}
	out := appendU32(nil, uint32(len(all))) //nolint:gosec // at most twice the bytes of a module
	for _, t := range all {
		out = appendFuncType(out, t)
	}
	return out
}

// blockOf returns the type of a block with the results of a function of type index t.
func (r *rewriter) blockOf(t uint32) []byte {
	switch results := r.types[t].results; len(results) {
	case 0:
		return []byte{emptyBlock}
	case 1:
		return results
	default:
		return appendS64(nil, int64(len(r.types)+extraImports)+int64(t))
	}
}

func (r *rewriter) typeIndex(c *cursor) uint32 {
	t := c.u32()
	if uint64(t) >= uint64(len(r.types)) {
		c.fail(errors.New("a type index is out of range"))
		return 0
	}
	return t
}

func (r *rewriter) importSection(c *cursor) []byte {
	n := c.count()
	var types []uint32
	for range n {
		module, name := c.name(), c.name()
		if kind := c.byte(); kind != kindFunction {
			c.fail(fmt.Errorf("it imports %q from %q, which is no function", name, module))
			return nil
		}
		t := r.typeIndex(c)
		if c.err != nil {
			return nil
		}
		types = append(types, t)
		r.imports = append(r.imports, functionImport{module, name, r.types[t]})
	}
	own := uint32(len(r.types))               //nolint:gosec // see typeSection
	types = append(types, own, own+1)         // tick, overflow
	out := appendU32(nil, uint32(len(types))) //nolint:gosec // see typeSection
	for i, t := range types {
		out = appendName(out, hostModule)
		out = appendName(out, importName(i))
		out = append(out, kindFunction)
		out = appendU32(out, t)
	}
	return out
}

func (r *rewriter) functionSection(c *cursor) []byte {
	n := c.count()
	atMost(c, "functions", n, maxFunctions)
	for range n {
		r.functions = append(r.functions, r.typeIndex(c))
	}
	return c.since(0)
}

// atMost bounds a count.
func atMost(c *cursor, what string, n, limit int) {
	if n > limit {
		c.fail(fmt.Errorf("it has more than %d %s", limit, what))
	}
}

// tableSection gives every table a maximum.
func (r *rewriter) tableSection(c *cursor) []byte {
	n := c.count()
	atMost(c, "tables", n, maxTables)
	out := appendU32(nil, uint32(n)) //nolint:gosec // at most maxTables
	for range n {
		kind := c.valueType()
		if kind != typeFuncref && kind != typeExtern {
			c.fail(errors.New("a table holds no references"))
		}
		minimum, maximum := limitsOf(c, maxTableSize)
		if minimum > maxTableSize {
			c.fail(fmt.Errorf("a table has more than %d elements", maxTableSize))
		}
		out = append(out, kind, 1)
		out = appendU32(out, minimum)
		out = appendU32(out, max(minimum, min(maximum, maxTableSize)))
	}
	return out
}

// limitsOf reads the size of a table or memory. unbounded is the maximum of one that names none.
func limitsOf(c *cursor, unbounded uint32) (minimum, maximum uint32) {
	switch c.byte() {
	case 0:
		return c.u32(), unbounded
	case 1:
		minimum, maximum = c.u32(), c.u32()
		if minimum > maximum {
			c.fail(errors.New("a minimum is above its maximum"))
		}
	default:
		c.fail(errors.New("limits are of an unknown kind"))
	}
	return minimum, maximum
}

func (r *rewriter) memorySection(c *cursor) []byte {
	switch c.count() {
	case 0:
	case 1:
		minimum, _ := limitsOf(c, 0)
		if minimum > r.limits.MemoryPages {
			c.fail(fmt.Errorf("its memory begins with %d pages, more than %d", minimum, r.limits.MemoryPages))
		}
		r.hasMemory = true
	default:
		c.fail(errors.New("it has more than one memory"))
	}
	return c.since(0)
}

// globalSection appends the fuel and the stack.
func (r *rewriter) globalSection(c *cursor) []byte {
	n := c.count()
	atMost(c, "globals", n, maxGlobals)
	r.globals = n
	out := appendU32(nil, uint32(n)+extraGlobals) //nolint:gosec // n is at most the size of a module
	for range n {
		out = append(out, c.valueType(), c.byte())
		out = r.constant(c, out)
	}
	out = append(out, typeI64, 1, opI64Const)
	out = append(appendS64(out, fuel), opEnd)
	return append(out, typeI32, 1, opI32Const, 0, opEnd)
}

// constant copies a constant expression.
func (r *rewriter) constant(c *cursor, out []byte) []byte {
	for c.err == nil {
		op, from := c.byte(), c.off
		switch op {
		case opEnd:
			return append(out, opEnd)
		case opI32Const:
			c.skipNumber(5)
		case opI64Const:
			c.skipNumber(10)
		case opF32Const:
			c.take(4)
		case opF64Const:
			c.take(8)
		case opGlobalGet:
			r.global(c)
		case opRefNull:
			c.valueType()
		case opVector:
			if c.byte() != vecConst {
				c.fail(errors.New("a constant is not constant"))
			}
			c.take(16)
		case opRefFunc:
			out = appendU32(append(out, op), r.shift(c, c.u32()))
			continue
		default:
			c.fail(fmt.Errorf("instruction %#x is not constant", op))
		}
		out = append(append(out, op), c.since(from)...)
	}
	return out
}

// global passes over the index of one of the module's own globals: our two are not the guest's to touch.
func (r *rewriter) global(c *cursor) {
	if int64(c.u32()) >= int64(r.globals) {
		c.fail(errors.New("a global index is out of range"))
	}
}

// shift makes room for our imports in the index of a function.
func (r *rewriter) shift(c *cursor, f uint32) uint32 {
	imports := uint32(len(r.imports)) //nolint:gosec // see typeSection
	if f < imports {
		return f
	}
	if uint64(f-imports) >= uint64(len(r.functions)) {
		c.fail(errors.New("a function index is out of range"))
		return 0
	}
	return f + extraImports
}

// exportSection keeps the functions and the memory.
func (r *rewriter) exportSection(c *cursor) []byte {
	kept, out := uint32(0), []byte(nil)
	seen := map[string]bool{}
	for range c.count() {
		name, kind, index := c.name(), c.byte(), c.u32()
		if seen[name] {
			c.fail(fmt.Errorf("it exports %q twice", name))
		}
		seen[name] = true
		switch kind {
		case kindFunction:
			shifted := r.shift(c, index)
			if c.err != nil {
				return nil
			}
			r.exports[name] = r.typeOf(index)
			index = shifted
		case kindMemory:
			r.exportsMemory = r.exportsMemory || name == "memory"
		case kindTable, kindGlobal:
			continue
		default:
			c.fail(errors.New("an export is of an unknown kind"))
		}
		out = append(appendName(out, name), kind)
		out = appendU32(out, index)
		kept++
	}
	return append(appendU32(nil, kept), out...)
}

// typeOf returns the type of a function by its index in the original module.
func (r *rewriter) typeOf(f uint32) funcType {
	if int(f) < len(r.imports) {
		return r.imports[f].funcType
	}
	return r.types[r.functions[int(f)-len(r.imports)]]
}

// elementSection moves the indices of functions.
func (r *rewriter) elementSection(c *cursor) []byte {
	n := c.count()
	out := appendU32(nil, uint32(n)) //nolint:gosec // at most the size of a module
	for range n {
		flags := c.u32()
		if flags > 7 {
			c.fail(errors.New("an element segment is of an unknown kind"))
			return nil
		}
		out = appendU32(out, flags)
		if flags&1 == 0 { // active
			if flags&2 != 0 {
				out = appendU32(out, c.u32())
			}
			out = r.constant(c, out)
		}
		if flags&3 != 0 {
			out = append(out, c.byte()) // the kind of its elements, or their type
		}
		elements := c.count()
		r.elements += elements
		atMost(c, "elements", r.elements, maxElements)
		out = appendU32(out, uint32(elements)) //nolint:gosec // at most the size of a module
		for range elements {
			if flags&4 != 0 {
				out = r.constant(c, out)
			} else {
				out = appendU32(out, r.shift(c, c.u32()))
			}
		}
	}
	return out
}

func (r *rewriter) dataSection(c *cursor) []byte {
	n := c.count()
	atMost(c, "data segments", n, maxSegments)
	for range n {
		flags := c.u32()
		if flags > 2 {
			c.fail(errors.New("a data segment is of an unknown kind"))
			return nil
		}
		if flags == 2 {
			c.u32()
		}
		if flags != 1 {
			r.constant(c, nil)
		}
		c.take(c.u32())
	}
	return c.since(0)
}

func (r *rewriter) codeSection(c *cursor) []byte {
	n := c.count()
	if n != len(r.functions) {
		c.fail(errors.New("there are not as many bodies as functions"))
		return nil
	}
	out := appendU32(make([]byte, 0, len(c.b)+len(c.b)/2), uint32(n)) //nolint:gosec // at most the size of a module
	for _, t := range r.functions {
		body := c.take(c.u32())
		if len(body) > maxBody {
			c.fail(fmt.Errorf("a function has more than %d bytes", maxBody))
		}
		if c.err != nil {
			return nil
		}
		f := function{r: r, c: &cursor{b: body}, blockType: r.blockOf(t)}
		metered := f.rewrite(len(r.types[t].params))
		if r.tooComplex() {
			f.c.fail(errors.New("its functions are too complex to be compiled"))
		}
		if f.c.err != nil {
			c.fail(f.c.err)
			return nil
		}
		out = appendU32(out, uint32(len(metered))) //nolint:gosec // a few times maxBody
		out = append(out, metered...)
	}
	return out
}

// importName is the name of an import in an instrumented module.
func importName(i int) string { return strconv.Itoa(i) }
