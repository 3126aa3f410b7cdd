// Package health answers whether the node is alive and ready.
package health

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Status is the word that probes answer with.
type Status string

// The states of a node.
const (
	Starting         Status = "starting"
	Ready            Status = "ready"
	ShuttingDown     Status = "shutting_down"
	StoreUnavailable Status = "store_unavailable"
)

// The probe of readiness is public and writes to the disk, so its verdict serves everybody for a while.
const probeEvery = time.Second

// Node is the state of one node. It starts as [Starting]. It is safe for concurrent use.
type Node struct {
	read, write func(context.Context) error
	now         func() time.Time
	phase       atomic.Pointer[Status]

	mu       sync.Mutex
	probed   time.Time
	writable bool
}

// New returns a node that is starting. read and write are the store's probes.
func New(read, write func(context.Context) error, now func() time.Time) *Node {
	n := &Node{read: read, write: write, now: now}
	n.Set(Starting)
	return n
}

// Set changes the phase: [Starting], [Ready] or [ShuttingDown].
func (n *Node) Set(phase Status) { n.phase.Store(&phase) }

// Alive reports whether the store can be read, whatever the phase.
func (n *Node) Alive(ctx context.Context) bool { return n.read(ctx) == nil }

// Status returns [Ready] when the node serves and its store takes a write, else why not.
func (n *Node) Status(ctx context.Context) Status {
	if phase := *n.phase.Load(); phase != Ready {
		return phase
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if now := n.now(); n.probed.IsZero() || now.Sub(n.probed) >= probeEvery || now.Before(n.probed) {
		// A prober who leaves must not leave a false verdict behind.
		n.writable = n.write(context.WithoutCancel(ctx)) == nil
		n.probed = now
	}
	if !n.writable {
		return StoreUnavailable
	}
	return Ready
}
