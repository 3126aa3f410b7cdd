package runtime

import "github.com/tetratelabs/wazero/experimental"

const pageSize = 64 << 10

// maxKept is the size of the largest memory that is kept for the next call.
const maxKept = 4 << 20

// memory is the linear memory of one instance. The buffers of instances that are gone are used again, wiped: making
// new ones costs more, and has to be collected.
type memory struct {
	module *Module
	call   *invocation
	buffer []byte
	used   int // how much of it may not be zero
	// refused says that the guest was refused memory, short that the node had none.
	refused, short bool
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
	if n > cap(m.buffer) && !m.grow(n, limit) {
		m.refused, m.short = true, true
		return nil
	}
	m.used = max(m.used, n)
	m.buffer = m.buffer[:n]
	return m.buffer
}

// grow makes room for n bytes, with some more for the next time. It reports false if the node has no memory for that.
func (m *memory) grow(n, limit int) bool {
	if m.buffer != nil {
		size := min(max(n, 2*cap(m.buffer)), limit)
		if !m.call.hold(int64(size - cap(m.buffer))) {
			return false
		}
		next := make([]byte, n, size)
		copy(next, m.buffer)
		m.buffer = next
		return true
	}
	if kept, _ := m.module.memories.Get().(*[]byte); kept != nil && cap(*kept) >= n && m.call.hold(int64(cap(*kept))) {
		m.buffer = *kept
		return true
	}
	// Without memory there would be no instance, so what it begins with is not refused.
	m.buffer = make([]byte, n)
	m.call.held += int64(n)
	m.call.engine.held.Add(int64(n))
	return true
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
