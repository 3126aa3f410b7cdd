package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// Event is one record of the event log. Its sequence number comes from the transaction that writes it, so that the
// numbers of committed records have no gap, follow the order of the commits, and are never used twice.
type Event struct {
	Seq     uint64 // 1 for the first event of the node
	Group   bool   // Subject is a group, not a context
	Subject id.ID
	Body    []byte
}

// EventLimits bound the event log. At least the newest record always stays.
type EventLimits struct {
	Count int64 // most records
	Bytes int64 // most bytes of bodies
}

// EventLog is the state of the event log.
type EventLog struct {
	Last    uint64 // sequence number of the newest record ever written, 0 if there was none
	Trimmed uint64 // no record up to this sequence number is kept any more, 0 if none was removed for space
	Count   int64
	Bytes   int64
}

// A value is a version, the kind of subject, the subject and the body: readers skip what they did not ask for
// without decoding it.
const (
	eventVersion = 1
	eventHead    = 2 + id.Size
	logRecord    = 3 * 8 // trimmed, count, bytes
)

var errEvent = errors.New("damaged event log")

// AppendEvent writes an event at the end of the log, removes the oldest ones that exceed the limits, and returns
// its sequence number.
func (t *Tx) AppendEvent(group bool, subject id.ID, body []byte, limits EventLimits) (uint64, error) {
	log, err := t.EventLog()
	if err != nil {
		return 0, err
	}
	bucket := t.tx.Bucket(bucketEvents)
	bucket.FillPercent = 0.9 // keys only grow
	seq, err := bucket.NextSequence()
	if err != nil {
		return 0, err
	}
	value := make([]byte, 0, eventHead+len(body))
	value = append(value, eventVersion, 0)
	if group {
		value[1] = 1
	}
	value = append(append(value, subject[:]...), body...)
	if err := bucket.Put(eventKey(seq), value); err != nil {
		return 0, err
	}
	log.Count++
	log.Bytes += int64(len(body))
	if err := t.trimEvents(&log, limits); err != nil {
		return 0, err
	}
	return seq, t.putEventLog(log)
}

func (t *Tx) trimEvents(log *EventLog, limits EventLimits) error {
	c := t.tx.Bucket(bucketEvents).Cursor()
	for log.Count > 1 && (log.Count > limits.Count || log.Bytes > limits.Bytes) {
		key, value := c.First()
		if key == nil {
			return fmt.Errorf("%w: %d records are missing", errEvent, log.Count)
		}
		e, err := eventOf(key, value)
		if e.Seq == 0 {
			return err // a damaged record goes like the others
		}
		log.Trimmed = e.Seq
		log.Count--
		log.Bytes -= int64(len(e.Body))
		if err := c.Delete(); err != nil {
			return err
		}
	}
	return nil
}

// RemoveEvents removes the events of a subject from the log.
func (t *Tx) RemoveEvents(group bool, subject id.ID) error {
	log, err := t.EventLog()
	if err != nil {
		return err
	}
	var gone []uint64
	for e, err := range t.Events(0) {
		if err == nil && e.Group == group && e.Subject == subject {
			gone = append(gone, e.Seq)
			log.Count--
			log.Bytes -= int64(len(e.Body))
		}
	}
	for _, seq := range gone {
		if err := t.tx.Bucket(bucketEvents).Delete(eventKey(seq)); err != nil {
			return err
		}
	}
	return t.putEventLog(log)
}

// EventLog returns the state of the log.
func (t *Tx) EventLog() (EventLog, error) {
	log := EventLog{Last: t.tx.Bucket(bucketEvents).Sequence()}
	v := t.tx.Bucket(bucketMeta).Get(keyEventLog)
	switch len(v) {
	case 0:
	case logRecord:
		log.Trimmed = binary.BigEndian.Uint64(v)
		log.Count = int64(binary.BigEndian.Uint64(v[8:]))  //nolint:gosec // written from int64
		log.Bytes = int64(binary.BigEndian.Uint64(v[16:])) //nolint:gosec // written from int64
	default:
		return EventLog{}, fmt.Errorf("%w: state of %d bytes", errEvent, len(v))
	}
	return log, nil
}

func (t *Tx) putEventLog(log EventLog) error {
	v := make([]byte, 0, logRecord)
	for _, n := range []uint64{log.Trimmed, uint64(log.Count), uint64(log.Bytes)} { //nolint:gosec // not negative
		v = binary.BigEndian.AppendUint64(v, n)
	}
	return t.tx.Bucket(bucketMeta).Put(keyEventLog, v)
}

// Events yields the events after a sequence number, oldest first. A damaged record comes with its number and an
// error; the next one may be whole. Bodies are valid only inside the transaction.
func (t *Tx) Events(after uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		c := t.tx.Bucket(bucketEvents).Cursor()
		for key, value := c.Seek(eventKey(after + 1)); key != nil; key, value = c.Next() {
			if !yield(eventOf(key, value)) {
				return
			}
		}
	}
}

// Event reads one event, whose body is valid only inside the transaction. The error is [ErrNotFound] if the log
// does not hold it.
func (t *Tx) Event(seq uint64) (Event, error) {
	key := eventKey(seq)
	value := t.tx.Bucket(bucketEvents).Get(key)
	if value == nil {
		return Event{}, ErrNotFound
	}
	return eventOf(key, value)
}

func eventKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

func eventOf(key, value []byte) (Event, error) {
	if len(key) != 8 {
		return Event{}, fmt.Errorf("%w: key %x", errEvent, key)
	}
	seq := binary.BigEndian.Uint64(key)
	if len(value) < eventHead || value[0] != eventVersion || value[1] > 1 {
		return Event{Seq: seq}, fmt.Errorf("%w: record %d", errEvent, seq)
	}
	return Event{
		Seq: seq, Group: value[1] == 1, Subject: id.ID(value[2:eventHead]), Body: value[eventHead:],
	}, nil
}
