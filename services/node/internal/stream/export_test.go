package stream

import "encoding/json"

// ParseRequest returns the id, the method and the selection of a message, as an answer would use them.
func ParseRequest(text []byte) (id json.RawMessage, method string, topics int, ok bool, err error) {
	r, ok, err := parseRequest(text)
	if !ok || err != nil {
		return r.id, "", 0, ok, err
	}
	s, err := parseSelection(r.params)
	return r.id, r.method, len(s.topics()), ok, err
}

// ParseSubscription returns the session of a request about subscriptions.
func ParseSubscription(text []byte) (uint64, error) {
	_, number, err := parseSubscription(text)
	return number, err
}

// ParseLastEventID reads the header of a client that comes back.
func ParseLastEventID(text string) (number, seq uint64, ok bool) { return parseLastEventID(text) }
