package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/event"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// ParseError is a request that cannot be read, in the form that clients expect as the error of the answer.
type ParseError struct{ Text string }

// Error implements error.
func (e *ParseError) Error() string { return e.Text }

// MarshalJSON returns {"type":"ParseError","data":…}.
func (e *ParseError) MarshalJSON() ([]byte, error) {
	return json.Marshal(failure{"ParseError", e.Text})
}

// subscribed and unsubscribed are the results of a request about subscriptions.
type subscribed struct {
	Status   string   `json:"status"`
	Contexts []string `json:"contexts"`
	Groups   []string `json:"groups"`
}

type unsubscribed struct {
	Status       string   `json:"status"`
	Unsubscribed []string `json:"unsubscribed"` // what the session had
	Requested    []string `json:"requested"`
}

// Subscription changes what a session of the caller of ctx is subscribed to, as the body of a request says. The
// result is for the answer. The error is a [*ParseError] or a [*fault.Error]; then nothing has changed.
func (h *Hub) Subscription(ctx context.Context, body []byte) (result any, err error) {
	r, number, err := parseSubscription(body)
	if err != nil {
		return nil, err
	}
	selected, err := parseSelection(r.params)
	if err != nil {
		return nil, &ParseError{err.Error()}
	}
	unlock := h.sessions.lock(number)
	defer unlock()
	if r.method == methodSubscribe {
		return h.subscribe(ctx, number, selected)
	}
	return h.unsubscribe(ctx, number, selected)
}

// parseSubscription reads the body of a request and the session that it is about.
func parseSubscription(body []byte) (r request, number uint64, err error) {
	r, ok, err := parseRequest(body)
	switch {
	case !ok:
		return r, 0, &ParseError{"want a JSON object"}
	case err != nil:
		return r, 0, &ParseError{err.Error()}
	case r.method != methodSubscribe && r.method != methodUnsubscribe:
		return r, 0, &ParseError{"unknown method: want subscribe or unsubscribe"}
	}
	text := string(bytes.Trim(r.id, `"`)) // a string, or from some clients a number
	number, err = parseSessionID(text)
	return r, number, err
}

func (h *Hub) subscribe(ctx context.Context, number uint64, selected selection) (any, error) {
	c, topics := caller.From(ctx), selected.topics()
	stream := h.sessions.connected(number)
	err := h.permitted(ctx, c, topics)
	if err == nil && stream != nil {
		// What is sent goes to whoever opened the stream, maybe with a lesser token of the same key.
		err = h.permitted(ctx, stream.caller, topics)
	}
	if err != nil {
		return nil, err
	}
	err = h.change(number, c.Key, func(tx *store.Tx, s *store.Session) error {
		log, err := tx.EventLog()
		if err != nil {
			return err
		}
		for _, t := range topics {
			if !slices.ContainsFunc(s.Subscriptions, func(x store.Subscription) bool { return topicOf(x) == t }) {
				s.Subscriptions = append(s.Subscriptions, store.Subscription{Group: t.Group, Subject: t.ID, Since: log.Last})
			}
		}
		if len(s.Subscriptions) > h.config.MaxTopics {
			return errTopics
		}
		return nil
	})
	switch {
	case errors.Is(err, errTopics):
		return nil, &ParseError{fmt.Sprintf("too many subscriptions: at most %d", h.config.MaxTopics)}
	case err != nil:
		return nil, err
	}
	if stream != nil {
		stream.sub.Subscribe(topics...)
	}
	contexts, groups := byKind(topics)
	return subscribed{"subscribed", contexts, groups}, nil
}

var errTopics = fault.New(fault.Invalid, "too many subscriptions")

func (h *Hub) unsubscribe(ctx context.Context, number uint64, selected selection) (any, error) {
	topics := selected.topics()
	var had []event.Topic
	err := h.change(number, caller.From(ctx).Key, func(_ *store.Tx, s *store.Session) error {
		had = nil
		s.Subscriptions = slices.DeleteFunc(s.Subscriptions, func(x store.Subscription) bool {
			t := topicOf(x)
			if !slices.Contains(topics, t) {
				return false
			}
			had = append(had, t)
			return true
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	if stream := h.sessions.connected(number); stream != nil {
		stream.unsubscribe(topics)
	}
	return unsubscribed{"unsubscribed", texts(had), texts(topics)}, nil
}

func texts(topics []event.Topic) []string {
	out := make([]string, 0, len(topics))
	for _, t := range topics {
		out = append(out, t.String())
	}
	return out
}

// byKind splits topics into contexts and groups, as clients write them.
func byKind(topics []event.Topic) (contexts, groups []string) {
	contexts, groups = []string{}, []string{}
	for _, t := range topics {
		if t.Group {
			groups = append(groups, t.String())
		} else {
			contexts = append(contexts, t.String())
		}
	}
	return contexts, groups
}
