package secret

// Settle waits for a change of the secrets that is stored but not yet visible here. Whoever got ErrRetired for a secret
// that Signing has just named calls it before the next try; not inside a transaction, for which the change may wait.
func (k *Keyring) Settle() {
	k.mu.Lock()
	defer k.mu.Unlock()
}
