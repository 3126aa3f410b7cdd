package runtime

import "time"

// Limits bound what one call may use. Sizes are in bytes.
type Limits struct {
	Time        time.Duration // of one call, from the moment that it runs
	ModuleSize  int           // of a module before it is compiled
	MemoryPages uint32        // of 64 KiB each
	StackSize   int           // of the guest's calls, by our own estimate of their frames

	Registers     int // how many at once
	RegisterSize  int
	RegisterTotal int

	Logs    int
	LogSize int

	Events        int
	EventKindSize int
	EventDataSize int
	HandlerSize   int

	XCalls            int
	XCallFunctionSize int
	XCallParamsSize   int

	KeySize    int
	ValueSize  int
	WriteTotal int // of all keys and values that one call leaves behind

	BlobHandles   int
	BlobChunkSize int
	BlobTotal     int64 // of what one call writes into blobs

	Changes    int // of contexts, asked for by one call
	InitSize   int // of the input of a context that a call creates
	Proposals  int // and as many approvals
	ReturnSize int
}

// DefaultLimits are those of the reference node, and definite ones where it has none.
func DefaultLimits() Limits {
	const kib, mib = 1 << 10, 1 << 20
	return Limits{
		Time: 30 * time.Second, ModuleSize: 10 * mib, MemoryPages: 1024, StackSize: 200 * kib,
		Registers: 100, RegisterSize: 100 * mib, RegisterTotal: 1024 * mib,
		Logs: 100, LogSize: 16 * kib,
		Events: 100, EventKindSize: 100, EventDataSize: 16 * kib, HandlerSize: 256,
		XCalls: 100, XCallFunctionSize: 100, XCallParamsSize: 16 * kib,
		KeySize: mib, ValueSize: 10 * mib, WriteTotal: 64 * mib,
		BlobHandles: 100, BlobChunkSize: 10 * mib, BlobTotal: 1024 * mib,
		Changes: 100, InitSize: mib, Proposals: 100, ReturnSize: 16 * mib,
	}
}
