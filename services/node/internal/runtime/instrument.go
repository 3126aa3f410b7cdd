package runtime

import (
	"errors"
	"fmt"
	"strconv"
)

// What the engine adds to a module: two imports at the end of its function imports and two globals behind its own.
//
// Before every block that can run more than once, the fuel goes down by the number of instructions that the block runs
// at most, and below zero the guest calls the host, which ends the call at its limits or refuels. This costs about a
// nanosecond a loop, where wazero's own check of a context leaves native code each time (some thirty nanoseconds), and
// it also covers recursion, which wazero's check does not. The second global counts the stack that the guest uses.
const (
	// fuel is how many instructions run between two looks at the limits: well below a millisecond.
	fuel = 1 << 18
	// bulkCost is the price of an instruction that works on a whole range of a memory or table.
	bulkCost = fuel / 16
	// leafSize is how many instructions a function may have to run unmetered when it has neither calls nor loops:
	// its caller has paid one for it.
	leafSize = 64

	// The frame of a function in the machine's stack, by our estimate: fixed part, and bytes for each local.
	frameSize = 48
	localSize = 8

	// loopBranches is what a loop counts among the branches of a function, with its meter.
	loopBranches = 3

	extraImports = 2
	extraGlobals = 2
)

// Bounds of what a module may declare, beyond which compiling or instantiating it would use memory or time out of
// proportion to its size. Browsers have the same ones, or wider.
const (
	maxFunctions = 50_000
	maxLocals    = 50_000 // of a function
	maxNesting   = 10_000
	maxBody      = 1 << 20
	maxGlobals   = 10_000
	maxTables    = 16
	maxTableSize = 1 << 17
	maxElements  = 1 << 18 // of all segments
	maxSegments  = 100_000

	// The time that the compiler takes for a function grows with the square of its branches, and with the product of
	// branches and locals. These are some ten and thirty seconds of an otherwise idle core; a large module of a real
	// application has a tenth.
	maxSquares  = 300_000_000
	maxProducts = 20_000_000
)

// hostModule is the name under which an instrumented module imports everything. The names in it are numbers: those of
// the guest's imports in their order, then tick and overflow.
const hostModule = "mero"

// functionImport is a function that a module wants from the host.
type functionImport struct {
	module, name string
	funcType
}

// instrumented is a module that is ready to be compiled.
type instrumented struct {
	wasm    []byte
	imports []functionImport
	// exports are the exported functions.
	exports map[string]funcType
	// hidden says that the module has a memory, but does not export it as "memory".
	hidden bool
}

// rewriter turns one module into an instrumented one. What it lets pass it has understood, so that the counts in the
// output are true and there is no second reading; whether the module is valid is for the compiler to say.
type rewriter struct {
	limits  Limits
	content [sections][]byte
	present [sections]bool

	types     []funcType
	imports   []functionImport
	functions []uint32 // the types of the module's own functions
	globals   int
	exports   map[string]funcType

	elements          int    // of all segments
	squares, products uint64 // see maxSquares

	hasMemory, exportsMemory bool
}

// instrument reads a module and adds the meters. The error wraps [ErrBadModule].
func instrument(wasm []byte, limits Limits) (*instrumented, error) {
	if len(wasm) > limits.ModuleSize {
		return nil, fail(ErrBadModule, "the module has %d bytes, more than %d", len(wasm), limits.ModuleSize)
	}
	r := &rewriter{limits: limits, exports: map[string]funcType{}}
	out, err := r.rewrite(wasm)
	if err != nil {
		return nil, fail(ErrBadModule, "the module cannot be read: %w", err)
	}
	return &instrumented{out, r.imports, r.exports, r.hasMemory && !r.exportsMemory}, nil
}

var errNoModule = errors.New("it does not begin as WebAssembly version 1 does")

func (r *rewriter) rewrite(wasm []byte) ([]byte, error) {
	if err := r.split(wasm); err != nil {
		return nil, err
	}
	out := append(make([]byte, 0, len(wasm)+len(wasm)/2), "\x00asm\x01\x00\x00\x00"...)
	for _, section := range sectionOrder {
		c := &cursor{b: r.content[section]}
		var content []byte
		if r.present[section] {
			content = r.section(section, c)
		}
		if c.err != nil {
			return nil, fmt.Errorf("section %d: %w", section, c.err)
		}
		if c.more() {
			return nil, fmt.Errorf("section %d: it has more than it says", section)
		}
		if content != nil {
			out = appendSection(out, section, content)
		}
	}
	if len(r.functions) != 0 && !r.present[sectionCode] {
		return nil, errors.New("its functions have no code")
	}
	return out, nil
}

// split finds the sections. Custom ones are dropped.
func (r *rewriter) split(wasm []byte) error {
	c := &cursor{b: wasm}
	if string(c.take(8)) != "\x00asm\x01\x00\x00\x00" {
		return errNoModule
	}
	for _, section := range []byte{sectionType, sectionImport, sectionGlobal} {
		r.content[section], r.present[section] = []byte{0}, true // they get additions, also where a module has none
	}
	next := 0
	for c.more() {
		section := c.byte()
		content := c.take(c.u32())
		if c.err != nil {
			return c.err
		}
		if section == sectionCustom {
			continue
		}
		for next < len(sectionOrder) && sectionOrder[next] != section {
			next++
		}
		if next == len(sectionOrder) {
			return fmt.Errorf("section %d is unknown or out of order", section)
		}
		next++
		r.content[section], r.present[section] = content, true
	}
	return nil
}

// section returns the new content of a section.
func (r *rewriter) section(section byte, c *cursor) []byte {
	switch section {
	case sectionType:
		return r.typeSection(c)
	case sectionImport:
		return r.importSection(c)
	case sectionFunction:
		return r.functionSection(c)
	case sectionTable:
		return r.tableSection(c)
	case sectionMemory:
		return r.memorySection(c)
	case sectionGlobal:
		return r.globalSection(c)
	case sectionExport:
		return r.exportSection(c)
	case sectionStart:
		return appendU32(nil, r.shift(c, c.u32()))
	case sectionElement:
		return r.elementSection(c)
	case sectionDataCount:
		return appendU32(nil, c.u32())
	case sectionCode:
		return r.codeSection(c)
	default:
		return r.dataSection(c)
	}
}

// The types of what is imported.
var (
	tickType     = funcType{results: []byte{typeI64}}
	overflowType = funcType{}
)

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
		if r.squares > maxSquares || r.products > maxProducts {
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
