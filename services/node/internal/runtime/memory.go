package runtime

import "github.com/tetratelabs/wazero/experimental"

const pageSize = 64 << 10

// maxKept is the size of the largest memory that is kept for the next call.
const maxKept = 4 << 20

// memory is the linear memory of one instance. The buffers of instances that are gone are used again, wiped: making
// new ones costs more, and has to be collected.
type memory struct {
	module *Module
	buffer []byte
	used   int // how much of it may not be zero
	// refused says that the guest was refused memory.
	refused bool
}

// Allocate implements [experimental.MemoryAllocator].
func (m *memory) Allocate(_, _ uint64) experimental.LinearMemory { return m }

// Reallocate implements [experimental.LinearMemory].
func (m *memory) Reallocate(size uint64) []byte {
	limit := int(m.module.limits.MemoryPages) * pageSize
	if size > uint64(limit) {
		m.refused = true
		return nil
	}
	n := int(size) //nolint:gosec // at most limit
	if n > cap(m.buffer) {
		m.grow(n, limit)
	}
	m.used = max(m.used, n)
	m.buffer = m.buffer[:n]
	return m.buffer
}

// grow makes room for n bytes, with some more for the next time.
func (m *memory) grow(n, limit int) {
	if m.buffer == nil {
		if kept, _ := m.module.memories.Get().(*[]byte); kept != nil && cap(*kept) >= n {
			m.buffer = *kept
			return
		}
		m.buffer = make([]byte, n)
		return
	}
	next := make([]byte, n, min(max(n, 2*cap(m.buffer)), limit))
	copy(next, m.buffer)
	m.buffer = next
}

// Free implements [experimental.LinearMemory].
func (m *memory) Free() {
	if m.buffer == nil {
		return
	}
	if cap(m.buffer) <= maxKept {
		b := m.buffer[:m.used]
		clear(b)
		m.module.memories.Put(&b)
	}
	m.buffer = nil
}
