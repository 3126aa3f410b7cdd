package runtime

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"io"

	"github.com/calimero-network/mero-go/services/node/internal/id"
)

func randomBytes(v *invocation, stack []uint64) {
	if _, err := io.ReadFull(v.engine.rand, v.bytes(stack[0])); err != nil {
		v.hostFailed("no random bytes", err)
	}
}

// timeNow writes the nanoseconds since 1970, 8 bytes little-endian.
func timeNow(v *invocation, stack []uint64) {
	b := v.bytes(stack[0])
	if len(b) != 8 {
		v.abort(errMemory)
	}
	binary.LittleEndian.PutUint64(b, v.time())
}

// time tells the guest a time.
func (v *invocation) time() uint64 {
	v.told = v.engine.time()
	return uint64(v.told) //nolint:gosec // not negative
}

// ed25519Verify says no to whatever is not a signature and a key.
func ed25519Verify(v *invocation, stack []uint64) {
	signature, key, message := v.bytes(stack[0]), v.bytes(stack[1]), v.bytes(stack[2])
	stack[0] = 0
	if len(key) == ed25519.PublicKeySize && ed25519.Verify(key, message, signature) {
		stack[0] = 1
	}
}

// fetch is blocked: an application reaches nothing outside of its node.
func fetch(v *invocation, stack []uint64) {
	v.set(stack[4], []byte("fetch is not available to applications"))
	stack[0] = 1
}

func sendProposal(v *invocation, stack []uint64) {
	v.room("proposals", len(v.proposals), v.engine.limits.Proposals)
	p := Proposal{Actions: bytes.Clone(v.bounded("the size of a proposal", stack[0], v.engine.limits.ValueSize))}
	v.charge(len(p.Actions))
	to := v.bytes(stack[1])
	if len(to) != id.Size {
		v.abort(errMemory)
	}
	if _, err := io.ReadFull(v.engine.rand, p.ID[:]); err != nil {
		v.hostFailed("no random bytes", err)
	}
	copy(to, p.ID[:])
	v.proposals = append(v.proposals, p)
}

func approveProposal(v *invocation, stack []uint64) {
	v.room("approvals", len(v.approvals), v.engine.limits.Proposals)
	v.approvals = append(v.approvals, v.id(stack[0]))
}

func (v *invocation) change(c ContextChange) {
	v.room("changes of contexts", len(v.changes), v.engine.limits.Changes)
	v.changes = append(v.changes, c)
}

// contextCreate asks for a context: protocol, application, input of its init, and an alias, which address 0 or an
// empty text leaves out. An alias that is taken ends the call.
func contextCreate(v *invocation, stack []uint64) {
	const nameSize = 64
	v.room("changes of contexts", len(v.changes), v.engine.limits.Changes)
	c := ContextChange{
		Kind:        CreateContext,
		Protocol:    v.text("the size of a protocol's name", stack[0], nameSize),
		Application: v.id(stack[1]),
		Input:       bytes.Clone(v.bounded("the size of a context's input", stack[2], v.engine.limits.InitSize)),
	}
	if stack[3] != 0 {
		c.Alias = v.text("the size of an alias", stack[3], nameSize)
	}
	if c.Alias != "" {
		if _, taken := v.resolve(c.Alias); taken {
			v.abort(fail(ErrTrap, "alias already exists: %s", c.Alias))
		}
	}
	v.change(c)
}

func contextDelete(v *invocation, stack []uint64) {
	v.change(ContextChange{Kind: DeleteContext, Context: v.id(stack[0])})
}

func contextAddMember(v *invocation, stack []uint64) {
	v.change(ContextChange{Kind: AddMember, Member: v.id(stack[0])})
}

func contextRemoveMember(v *invocation, stack []uint64) {
	v.change(ContextChange{Kind: RemoveMember, Member: v.id(stack[0])})
}

func contextIsMember(v *invocation, stack []uint64) {
	member := v.id(stack[0])
	stack[0] = 0
	if v.call.Directory == nil {
		return
	}
	yes, err := v.call.Directory.IsMember(v, member)
	if err != nil {
		v.hostFailed("the members could not be read", err)
	}
	if yes {
		stack[0] = 1
	}
}

// contextMembers puts the members into a register: their number in 4 bytes little-endian, then the members.
func contextMembers(v *invocation, stack []uint64) {
	var members []id.ID
	if v.call.Directory != nil {
		var err error
		if members, err = v.call.Directory.Members(v); err != nil {
			v.hostFailed("the members could not be read", err)
		}
	}
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(members))) //nolint:gosec // a context has fewer
	for _, m := range members {
		b = append(b, m[:]...)
	}
	v.set(stack[0], b)
}

func contextResolveAlias(v *invocation, stack []uint64) {
	target, found := v.resolve(v.text("the size of an alias", stack[0], v.engine.limits.KeySize))
	v.give(stack, stack[1], target[:], found)
}

func (v *invocation) resolve(alias string) (id.ID, bool) {
	if v.call.Directory == nil {
		return id.ID{}, false
	}
	target, found, err := v.call.Directory.ResolveAlias(v, alias)
	if err != nil {
		v.hostFailed("the aliases could not be read", err)
	}
	return target, found
}
