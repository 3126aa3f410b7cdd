// Package reqctx carries the request id in a context and puts it into every log line written under it. It also carries
// the client's network, for records of who did something.
package reqctx

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
)

type requestIDKey struct{}

// maxRequestID bounds a request id taken from a client.
const maxRequestID = 64

// HeaderRequestID is the header in which a request id arrives and is answered.
const HeaderRequestID = "X-Request-Id"

// WithRequestID returns ctx carrying id.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// RequestID returns the request id of ctx, or "".
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

type peerKey struct{}

// WithPeer returns ctx carrying the client's network: an IPv4 address or an IPv6 prefix.
func WithPeer(ctx context.Context, peer string) context.Context {
	return context.WithValue(ctx, peerKey{}, peer)
}

// Peer returns the client's network of ctx, or "".
func Peer(ctx context.Context) string {
	peer, _ := ctx.Value(peerKey{}).(string)
	return peer
}

// NewRequestID returns id when it is short and plain ([A-Za-z0-9._-], at most 64 bytes), so that a caller can
// correlate its logs with ours and can inject nothing into them, else a fresh random id.
func NewRequestID(id string) string {
	if plain(id) {
		return id
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails (it crashes the program instead)
	return hex.EncodeToString(b[:])
}

func plain(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// LogHandler adds the request id of the context to every record.
type LogHandler struct{ slog.Handler }

// Handle adds the request id and passes the record on.
func (h LogHandler) Handle(ctx context.Context, r slog.Record) error {
	if id := RequestID(ctx); id != "" {
		r.AddAttrs(slog.String("request_id", id))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs keeps the wrapper around the derived handler.
func (h LogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return LogHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup keeps the wrapper around the derived handler.
func (h LogHandler) WithGroup(name string) slog.Handler { return LogHandler{h.Handler.WithGroup(name)} }
