// Package event tells subscribers what happens in contexts and groups.
//
// An event is written to a bounded log in the transaction of the change that it is about ([Bus.Publish]), and leaves
// after the commit. So what subscribers hear is true and complete: nothing is announced that a crash takes back, and
// nothing that was committed is kept from them. The log gives each event a sequence number; committed numbers have no
// gap, follow the order of the commits over all contexts, and survive a restart.
//
// A [Subscriber] is a position in that log with a small queue of the numbers that wait for it, never of the events
// themselves. A reader that is slower than the events costs nobody else anything: when its queue is full it reads on
// from the log, and when even the log has moved past it, it is told which part it missed ([LostError]). Publishing
// never waits for a subscriber, and memory does not grow with slow ones.
package event

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// Topic is what can be subscribed to: one context or one group.
type Topic struct {
	Group bool
	ID    id.ID
}

// OfContext returns the topic of a context.
func OfContext(i id.ID) Topic { return Topic{ID: i} }

// OfGroup returns the topic of a group (or namespace).
func OfGroup(i id.ID) Topic { return Topic{Group: true, ID: i} }

// String returns the id as clients write it: a context in base58, a group in hex.
func (t Topic) String() string {
	if t.Group {
		return hex.EncodeToString(t.ID[:])
	}
	return t.ID.String()
}

// Event is something that happened: one of the types of this package.
type Event interface {
	topic() Topic
	kind() string
}

// StateMutation is a call that committed a new state or emitted events.
type StateMutation struct {
	Context id.ID
	NewRoot id.ID     // the state hash after the call
	Emitted []Emitted // in the order in which the application emitted them; may be empty
}

// Emitted is an event of an application.
type Emitted struct {
	Kind    string `json:"kind"`
	Data    []byte `json:"data"`              // the bytes that the application gave
	Handler string `json:"handler,omitempty"` // the method that other members run with it, "" if none
}

// AppVersionChanged is an update of a context's application. The versions are "" where there is none.
type AppVersionChanged struct {
	Context  id.ID
	From, To string
}

// Membership is a change among the members of a group.
type Membership struct {
	Group   id.ID
	Change  MembershipChange
	Account string // account id, 64 hexadecimal digits
	Role    string // "" if the member is gone
}

// MembershipChange says what happened to a member.
type MembershipChange string

// The changes among members.
const (
	MemberJoined  MembershipChange = "MemberJoined"  // by an invitation
	MemberAdded   MembershipChange = "MemberAdded"   // by an administrator
	MemberRemoved MembershipChange = "MemberRemoved" // left or was removed
)

func (e StateMutation) topic() Topic     { return OfContext(e.Context) }
func (e AppVersionChanged) topic() Topic { return OfContext(e.Context) }
func (e Membership) topic() Topic        { return OfGroup(e.Group) }

func (StateMutation) kind() string     { return kindStateMutation }
func (AppVersionChanged) kind() string { return "AppVersionChanged" }
func (e Membership) kind() string      { return string(e.Change) }

const kindStateMutation = "StateMutation"

// body is the form of an event in the log. Bytes are base64 there, which is a third of what clients get.
type body struct {
	Kind string          `json:"type"`
	Data json.RawMessage `json:"data"`
}

type mutation struct {
	NewRoot id.ID     `json:"newRoot"`
	Events  []Emitted `json:"events"`
}

func encode(e Event) ([]byte, error) {
	var data any
	switch e := e.(type) {
	case StateMutation:
		data = mutation{e.NewRoot, e.Emitted}
	case AppVersionChanged:
		data = struct {
			From string `json:"fromVersion,omitempty"`
			To   string `json:"toVersion,omitempty"`
		}{e.From, e.To}
	case Membership:
		data = struct {
			Account string `json:"memberAccount"`
			Role    string `json:"role,omitempty"`
		}{e.Account, e.Role}
	default:
		return nil, fmt.Errorf("no form for %T", e)
	}
	text, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	return json.Marshal(body{e.kind(), text})
}

// render returns head and the JSON that clients get: {"contextId":…,"type":…,"data":…}.
func render(head []byte, t Topic, text []byte) ([]byte, error) {
	var b body
	if err := json.Unmarshal(text, &b); err != nil {
		return nil, err
	}
	data := []byte(b.Data)
	if b.Kind == kindStateMutation {
		var m mutation
		if err := json.Unmarshal(b.Data, &m); err != nil {
			return nil, err
		}
		var err error
		if data, err = m.render(); err != nil {
			return nil, err
		}
	}
	name := "contextId"
	if t.Group {
		name = "groupId"
	}
	kind, err := json.Marshal(b.Kind)
	if err != nil {
		return nil, err
	}
	out := append(make([]byte, 0, len(head)+len(data)+len(kind)+120), head...)
	out = fmt.Appendf(out, `{"%s":"%s","type":%s,"data":`, name, t, kind)
	return append(append(out, data...), '}'), nil
}

// render writes bytes as arrays of numbers, as clients expect them.
func (m mutation) render() ([]byte, error) {
	size := 100
	for _, e := range m.Events {
		size += 4*len(e.Data) + len(e.Kind) + len(e.Handler) + 50
	}
	out := fmt.Appendf(make([]byte, 0, size), `{"newRoot":"%s","events":[`, m.NewRoot)
	for i, e := range m.Events {
		if i > 0 {
			out = append(out, ',')
		}
		kind, err := json.Marshal(e.Kind)
		if err != nil {
			return nil, err
		}
		handler := []byte("null")
		if e.Handler != "" {
			if handler, err = json.Marshal(e.Handler); err != nil {
				return nil, err
			}
		}
		out = append(append(out, `{"kind":`...), kind...)
		out = appendNumbers(append(out, `,"data":`...), e.Data)
		out = append(append(out, `,"handler":`...), handler...)
		out = append(out, '}')
	}
	return append(out, `]}`...), nil
}

func appendNumbers(out, data []byte) []byte {
	out = append(out, '[')
	for i, b := range data {
		if i > 0 {
			out = append(out, ',')
		}
		out = strconv.AppendUint(out, uint64(b), 10)
	}
	return append(out, ']')
}
