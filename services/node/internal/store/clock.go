package store

import (
	"encoding/binary"
	"fmt"
)

// Told returns the latest time, in Unix nanoseconds, that an application was told during a call whose change is in the
// database; 0 if there is none.
func (t *Tx) Told() (int64, error) {
	switch v := t.tx.Bucket(bucketMeta).Get(keyTold); len(v) {
	case 0:
		return 0, nil
	case 8:
		return int64(binary.BigEndian.Uint64(v)), nil //nolint:gosec // written from int64
	default:
		return 0, fmt.Errorf("damaged record %s %s: %d bytes", bucketMeta, keyTold, len(v))
	}
}

// PutTold remembers a time for [Tx.Told], if it is the latest.
func (t *Tx) PutTold(told int64) error {
	last, err := t.Told()
	if err != nil || told <= last {
		return err
	}
	return t.tx.Bucket(bucketMeta).Put(keyTold, binary.BigEndian.AppendUint64(nil, uint64(told))) //nolint:gosec // read back as it was written
}
