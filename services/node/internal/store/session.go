package store

import (
	"encoding/binary"
	"iter"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// Session is what an SSE client finds again when it comes back.
type Session struct {
	ID            uint64
	Owner         string    // key id of the caller that opened it; "" in auth mode none
	Used          time.Time // when it was last connected or changed
	Sent          uint64    // sequence number of the last event that was sent on it
	Subscriptions []Subscription
}

// Subscription is a topic of a session: a context or a group.
type Subscription struct {
	Group   bool   `json:"group,omitempty"`
	Subject id.ID  `json:"subject"`
	Since   uint64 `json:"since"` // events with larger sequence numbers count
}

type sessionRecord struct {
	V             int            `json:"v"`
	Owner         string         `json:"owner"`
	Used          int64          `json:"used"` // Unix seconds
	Sent          uint64         `json:"sent"`
	Subscriptions []Subscription `json:"subscriptions,omitempty"`
}

// PutSession writes a session under its id.
func (t *Tx) PutSession(s Session) error {
	return t.put(bucketSessions, sessionKey(s.ID), sessionRecord{1, s.Owner, s.Used.Unix(), s.Sent, s.Subscriptions})
}

// Session reads a session. The error is [ErrNotFound] if there is none.
func (t *Tx) Session(number uint64) (Session, error) {
	var r sessionRecord
	key := sessionKey(number)
	if err := t.get(bucketSessions, key, &r); err != nil {
		return Session{}, err
	}
	return r.session(key), nil
}

// DeleteSession removes a session if it is there.
func (t *Tx) DeleteSession(number uint64) error {
	return t.tx.Bucket(bucketSessions).Delete(sessionKey(number))
}

// Sessions yields all sessions, until an error.
func (t *Tx) Sessions() iter.Seq2[Session, error] {
	return func(yield func(Session, error) bool) {
		c := t.tx.Bucket(bucketSessions).Cursor()
		for key, text := c.First(); key != nil; key, text = c.Next() {
			var r sessionRecord
			err := decode(bucketSessions, key, text, &r)
			if !yield(r.session(key), err) || err != nil {
				return
			}
		}
	}
}

func (r *sessionRecord) session(key []byte) Session {
	return Session{binary.BigEndian.Uint64(key), r.Owner, time.Unix(r.Used, 0), r.Sent, r.Subscriptions}
}

func sessionKey(number uint64) []byte { return binary.BigEndian.AppendUint64(nil, number) }
