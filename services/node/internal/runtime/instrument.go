package runtime

import (
	"errors"
	"fmt"
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

	// targetsOfABranch is how many targets of a table of branches cost the compiler what a branch does.
	targetsOfABranch = 8

	extraImports = 2
	extraGlobals = 2
)

// Bounds of what a module may declare, beyond which compiling or instantiating it would use memory or time out of
// proportion to its size. Browsers have the same ones, or wider.
const (
	maxFunctions = 50_000
	maxLocals    = 50_000 // of a function
	maxNesting   = 10_000
	maxBody      = 1 << 19
	maxGlobals   = 10_000
	maxTables    = 16
	maxTableSize = 1 << 17
	maxElements  = 1 << 18 // of all segments
	maxSegments  = 100_000

	// What the compiler takes for a function grows with the square of its branches, in time and in memory; with the
	// product of branches and variables; and with that of branches and the square of the variables, which it sorts out
	// wherever branches meet. Each of these is about five seconds of an otherwise idle core, for a module; the largest
	// modules of real compilers that we know have a half, a fifth and a tenth. A compilation cannot be interrupted, so
	// what is too much must be known before.
	maxBranches  = 5_000 // of a function: 400 MiB
	maxSquares   = 50_000_000
	maxProducts  = 4_000_000
	maxCubes     = 1_000_000_000
	maxAllLocals = 2_000_000
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

	elements, locals         int    // of all segments, of all functions
	squares, products, cubes uint64 // see maxSquares
	mostBranches             uint64 // of a function

	hasMemory, exportsMemory bool
}

// complexity counts what a function with some branches and variables costs the compiler.
func (r *rewriter) complexity(branches, variables uint64) {
	r.mostBranches = max(r.mostBranches, branches)
	r.squares += branches * branches
	r.products += branches * variables
	r.cubes += branches * variables * variables
}

// tooComplex reports whether compiling the functions so far would take too long.
func (r *rewriter) tooComplex() bool {
	return r.mostBranches > maxBranches || r.squares > maxSquares || r.products > maxProducts || r.cubes > maxCubes
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
