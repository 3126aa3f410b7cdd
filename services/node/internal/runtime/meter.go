package runtime

import (
	"errors"
	"fmt"
)

// function adds the meters to the body of one function.
//
// The body is wrapped into a block, so that every way out of it passes the code that gives the stack back, and
// "return" becomes a branch to that block.
type function struct {
	r         *rewriter
	c         *cursor
	blockType []byte

	code  []byte
	depth int    // of open blocks; the function is the first
	cost  uint64 // of the instructions outside of loops
	loops []loop // that are open
	plain bool   // neither calls nor loops nor bulk instructions so far

	// branches is about how many pieces the compiler will cut the function into.
	branches uint64
	// targets is how many places its tables of branches lead to.
	targets uint64
	// widest is how many values the widest block takes and leaves: they become variables, too.
	widest int
}

// loop is an open loop. cost is what its own instructions cost, those of inner loops aside.
type loop struct {
	depth int
	cost  uint64
	at    int // where in code the cost is written
}

// rewrite returns the new body.
func (f *function) rewrite(params int) []byte {
	c := f.c
	locals := f.locals()
	head := c.since(0)
	f.code = make([]byte, 0, 2*len(c.b))
	f.depth, f.plain = 1, true
	for f.depth != 0 && c.err == nil {
		f.charge(1)
		f.instruction()
	}
	if c.more() {
		c.fail(errors.New("a function goes on after its end"))
	}
	if c.err != nil {
		return nil
	}
	out := append(make([]byte, 0, len(head)+len(f.code)+128), head...)
	// Before anything is returned: what a function costs the compiler has nothing to do with what it costs to run.
	f.branches += f.targets / targetsOfABranch
	f.r.complexity(f.branches, uint64(locals+params+f.widest)) //nolint:gosec // not negative
	if f.plain && f.cost <= leafSize {
		return append(out, f.code...)
	}
	frame := int64(frameSize) + localSize*int64(locals+params)
	out = f.enter(out, frame)
	out, at := f.meter(out)
	putCost(out[at:], f.cost)
	out = append(append(out, opBlock), f.blockType...)
	out = append(out, f.code...)
	out = f.account(out, opI32Sub, frame)
	return append(out, opEnd)
}

// locals passes over the declaration of the locals and returns their number. A vector counts as two.
func (f *function) locals() int {
	sum := uint64(0)
	for range f.c.count() {
		n := uint64(f.c.u32())
		if f.c.valueType() == typeV128 {
			n *= 2
		}
		sum += n
		if sum > maxLocals {
			f.c.fail(fmt.Errorf("a function has more than %d locals", maxLocals))
			return 0
		}
	}
	if f.r.locals += int(sum); f.r.locals > maxAllLocals {
		f.c.fail(fmt.Errorf("its functions have more than %d locals together", maxAllLocals))
	}
	return int(sum)
}

// charge makes whatever block is repeated as a whole pay.
func (f *function) charge(cost uint64) {
	if n := len(f.loops); n != 0 {
		f.loops[n-1].cost += cost
	} else {
		f.cost += cost
	}
}

func (f *function) chargeBulk() {
	f.plain = false
	f.branches += loopBranches // some become loops
	f.charge(bulkCost)
}

// The indices of what the engine adds.

func (f *function) tick() uint32     { return uint32(len(f.r.imports)) }     //nolint:gosec // see typeSection
func (f *function) overflow() uint32 { return uint32(len(f.r.imports)) + 1 } //nolint:gosec // see typeSection
func (f *function) fuel() uint32     { return uint32(f.r.globals) }          //nolint:gosec // see globalSection
func (f *function) stack() uint32    { return uint32(f.r.globals) + 1 }      //nolint:gosec // see globalSection

// meter appends: fuel -= cost; if fuel < 0 { fuel = tick() }. The cost is to be written at the returned place.
func (f *function) meter(out []byte) (_ []byte, at int) {
	out = appendU32(append(out, opGlobalGet), f.fuel())
	out = append(out, opI64Const)
	at = len(out)
	out = append(out, make([]byte, costWidth)...)
	out = appendU32(append(out, opI64Sub, opGlobalSet), f.fuel())
	out = appendU32(append(out, opGlobalGet), f.fuel())
	out = append(out, opI64Const, 0, opI64LtS, opIf, emptyBlock)
	out = appendU32(append(out, opCall), f.tick())
	out = appendU32(append(out, opGlobalSet), f.fuel())
	return append(out, opEnd), at
}

// account appends: stack += frame (or -=, as op says).
func (f *function) account(out []byte, op byte, frame int64) []byte {
	out = appendU32(append(out, opGlobalGet), f.stack())
	out = appendS64(append(out, opI32Const), frame)
	return appendU32(append(out, op, opGlobalSet), f.stack())
}

// enter appends: stack += frame; if stack > limit { overflow() }.
func (f *function) enter(out []byte, frame int64) []byte {
	out = f.account(out, opI32Add, frame)
	out = appendU32(append(out, opGlobalGet), f.stack())
	out = appendS64(append(out, opI32Const), int64(f.r.limits.StackSize))
	out = append(out, opI32GtU, opIf, emptyBlock)
	out = appendU32(append(out, opCall), f.overflow())
	return append(out, opEnd)
}

// instruction copies one instruction.
func (f *function) instruction() {
	c, from := f.c, f.c.off
	switch op := c.byte(); op {
	case opBlock, opIf:
		f.branches++
		f.skipBlockType()
		f.open()
	case opLoop:
		f.branches += loopBranches
		f.skipBlockType()
		f.open()
		f.code = append(f.code, c.since(from)...)
		f.openLoop()
		return
	case opEnd:
		f.close()
	case opReturn:
		f.branches++
		f.code = appendU32(append(f.code, opBr), uint32(f.depth-1)) //nolint:gosec // at most maxNesting
		return
	case opCall, opRefFunc:
		f.plain = f.plain && op != opCall
		f.code = appendU32(append(f.code, op), f.r.shift(c, c.u32()))
		return
	case opCallIndirect:
		f.plain = false
		f.r.typeIndex(c)
		c.u32()
	case opGlobalGet, opGlobalSet:
		f.r.global(c)
	case opMisc:
		f.misc()
	case opVector:
		f.vector()
	case opMemoryGrow:
		f.chargeBulk()
		c.byte()
	default:
		f.immediates(op)
	}
	f.code = append(f.code, c.since(from)...)
}

// immediates passes over what follows the other instructions.
func (f *function) immediates(op byte) {
	c := f.c
	switch {
	case op == opBr, op == opBrIf:
		f.branches++
		c.u32()
	case op >= opLocalGet && op <= opLocalTee, op == opTableGet, op == opTableSet:
		c.u32()
	case op == opBrTable:
		for range c.count() {
			f.targets++
			c.u32()
		}
		f.branches++
		c.u32()
	case op == opSelectTyped:
		for range c.count() {
			c.valueType()
		}
	case op >= opFirstLoad && op <= opLastStore:
		f.skipMemoryArgument()
	case op == opMemorySize:
		c.byte()
	case op == opI32Const:
		c.skipNumber(5)
	case op == opI64Const:
		c.skipNumber(10)
	case op == opF32Const:
		c.take(4)
	case op == opF64Const:
		c.take(8)
	case op == opRefNull:
		c.valueType()
	case op == opUnreachable, op == opNop, op == opElse, op == opDrop, op == opSelect, op == opRefIsNull,
		op > opF64Const && op <= opLastNumeric:
	default:
		c.fail(fmt.Errorf("instruction %#x is unknown", op))
	}
}

func (f *function) skipMemoryArgument() {
	f.c.u32()
	f.c.u32()
}

// skipBlockType passes over a value type, the empty type or the index of one of the guest's types.
func (f *function) skipBlockType() {
	from := f.c.off
	first := f.c.byte()
	switch {
	case first == emptyBlock:
	case first >= 0x40 && first < 0x80: // negative: a value type
		f.c.off = from
		f.c.valueType()
	default:
		f.c.off = from
		if t := f.r.typeIndex(f.c); f.c.err == nil {
			f.widest = max(f.widest, len(f.r.types[t].params)+len(f.r.types[t].results))
		}
	}
}

func (f *function) open() {
	f.depth++
	if f.depth > maxNesting {
		f.c.fail(fmt.Errorf("more than %d blocks are nested", maxNesting))
	}
}

func (f *function) openLoop() {
	f.plain = false
	l := loop{depth: f.depth, cost: 1}
	f.code, l.at = f.meter(f.code)
	f.loops = append(f.loops, l)
}

func (f *function) close() {
	if n := len(f.loops); n != 0 && f.loops[n-1].depth == f.depth {
		putCost(f.code[f.loops[n-1].at:], f.loops[n-1].cost)
		f.loops = f.loops[:n-1]
	}
	f.depth--
}

// misc passes over the rest of an instruction with the prefix 0xfc.
func (f *function) misc() {
	c := f.c
	switch op := c.byte(); op {
	case 0, 1, 2, 3, 4, 5, 6, 7: // saturating conversions
	case 8: // memory.init
		f.chargeBulk()
		c.u32()
		c.byte()
	case 9, 13, 16: // data.drop, elem.drop, table.size
		c.u32()
	case 10: // memory.copy
		f.chargeBulk()
		c.take(2)
	case 11: // memory.fill
		f.chargeBulk()
		c.byte()
	case 12, 14: // table.init, table.copy
		f.chargeBulk()
		c.u32()
		c.u32()
	case 15, 17: // table.grow, table.fill
		f.chargeBulk()
		c.u32()
	default:
		c.fail(fmt.Errorf("instruction 0xfc %#x is unknown", op))
	}
}

// The vector instructions that have immediates.
const (
	vecLastLoad   = 11
	vecConst      = 12
	vecShuffle    = 13
	vecFirstLane  = 21
	vecLastLane   = 34
	vecFirstLoadL = 84
	vecLastStoreL = 91
	vecLoad32Zero = 92
	vecLoad64Zero = 93
)

// vector passes over the rest of an instruction with the prefix 0xfd.
func (f *function) vector() {
	c := f.c
	op := c.byte()
	switch {
	case op <= vecLastLoad, op == vecLoad32Zero, op == vecLoad64Zero:
		f.skipMemoryArgument()
	case op == vecConst, op == vecShuffle:
		c.take(16)
	case op >= vecFirstLane && op <= vecLastLane:
		c.byte()
	case op >= vecFirstLoadL && op <= vecLastStoreL:
		f.skipMemoryArgument()
		c.byte()
	case op >= 0x80:
		// Numbers from 128 on take a second byte, which is 1 for all that exist. The compiler passes over it as
		// if it were an instruction, "nop".
		if c.byte() != 1 {
			c.fail(errors.New("a vector instruction is unknown"))
		}
	}
}
