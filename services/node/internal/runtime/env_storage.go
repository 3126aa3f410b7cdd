package runtime

import "crypto/sha256"

// longKey marks the stored form of a key that is longer than an id.
const longKey = "\xff"

// storedKey returns the key under which an entry is stored (see [MaxStoredKey]).
func storedKey(key []byte) string {
	if len(key) < MaxStoredKey {
		return string(key)
	}
	sum := sha256.Sum256(key)
	return longKey + string(sum[:])
}

func (v *invocation) key(p uint64) string {
	return storedKey(v.bounded("the size of a key", p, v.engine.limits.KeySize))
}

// read looks an entry up, in what the call has written and then in what is stored.
func (v *invocation) read(written overlay, stored Reader, key string) (value []byte, found bool) {
	if w, ok := written[key]; ok {
		return w.Value, !w.Remove
	}
	if stored == nil {
		return nil, false
	}
	value, found, err := stored.Get(v, []byte(key))
	if err != nil {
		v.hostFailed("the state could not be read", err)
	}
	return value, found
}

// entryCost is what an entry counts beside its key and value, for the memory that it takes.
const entryCost = 128

// write remembers an entry, within the limit of all that one call writes.
func (v *invocation) write(to *overlay, w Write) {
	old, ok := (*to)[string(w.Key)]
	grown := len(w.Value) - len(old.Value)
	if !ok {
		grown += len(w.Key) + entryCost
	}
	v.charge(grown)
	if *to == nil {
		*to = overlay{}
	}
	(*to)[string(w.Key)] = w
}

// charge counts what the call leaves behind.
func (v *invocation) charge(n int) {
	v.mustHold(n)
	v.written += n
	v.limit("the size of all writes", uint64(v.written), uint64(v.engine.limits.WriteTotal)) //nolint:gosec // not negative
}

// give puts an entry into a register and says whether there was one.
func (v *invocation) give(stack []uint64, register uint64, value []byte, found bool) {
	stack[0] = 0
	if found {
		v.set(register, value)
		stack[0] = 1
	}
}

func (v *invocation) value(p uint64) []byte {
	return append([]byte{}, v.bounded("the size of a value", p, v.engine.limits.ValueSize)...)
}

func storageRead(v *invocation, stack []uint64) {
	value, found := v.read(v.state, v.call.State, v.key(stack[0]))
	v.give(stack, stack[1], value, found)
}

// storageWrite puts the old value into the register.
func storageWrite(v *invocation, stack []uint64) {
	key, value := v.key(stack[0]), v.value(stack[1])
	old, found := v.read(v.state, v.call.State, key)
	v.write(&v.state, Write{Key: []byte(key), Value: value})
	v.give(stack, stack[2], old, found)
}

func storageRemove(v *invocation, stack []uint64) {
	key := v.key(stack[0])
	old, found := v.read(v.state, v.call.State, key)
	if found {
		v.write(&v.state, Write{Key: []byte(key), Remove: true})
	}
	v.give(stack, stack[1], old, found)
}

func privateRead(v *invocation, stack []uint64) {
	value, found := v.read(v.private, v.call.Private, v.key(stack[0]))
	v.give(stack, stack[1], value, found)
}

// privateWrite says whether there is a private storage.
func privateWrite(v *invocation, stack []uint64) {
	key, value := v.key(stack[0]), v.value(stack[1])
	if v.call.Private == nil {
		stack[0] = 0
		return
	}
	v.write(&v.private, Write{Key: []byte(key), Value: value})
	stack[0] = 1
}

func privateRemove(v *invocation, stack []uint64) {
	key := v.key(stack[0])
	old, found := v.read(v.private, v.call.Private, key)
	if found {
		v.write(&v.private, Write{Key: []byte(key), Remove: true})
	}
	v.give(stack, stack[1], old, found)
}
