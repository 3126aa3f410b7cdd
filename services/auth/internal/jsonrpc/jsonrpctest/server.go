// Package jsonrpctest is a JSON-RPC server for tests that can lie, stall, flap and redirect.
package jsonrpctest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Request is a request as it came.
type Request struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`

	HTTP *http.Request `json:"-"` // without its body
}

// Reply answers a request.
type Reply func(w http.ResponseWriter, r Request)

// Server is a running server. Its replies may be changed at any time.
type Server struct {
	URL string

	mu       sync.Mutex
	reply    Reply
	requests []Request
	done     chan struct{}
}

// Start runs a server until the test ends.
func Start(t testing.TB, reply Reply) *Server {
	t.Helper()
	s := &Server{reply: reply, done: make(chan struct{})}
	h := httptest.NewServer(s)
	s.URL = h.URL
	t.Cleanup(func() {
		close(s.done)
		h.CloseClientConnections()
		h.Close()
	})
	return s
}

// Set changes what is answered from now on.
func (s *Server) Set(reply Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reply = reply
}

// Requests returns what came so far, and forgets it.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.requests
	s.requests = nil
	return seen
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	request := Request{HTTP: r}
	if err := json.Unmarshal(body, &request); err != nil {
		http.Error(w, "this is no JSON-RPC", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.requests = append(s.requests, request)
	reply := s.reply
	s.mu.Unlock()
	reply(w, request)
}

// Stall answers nothing until the client gives up or the test ends.
func (s *Server) Stall() Reply {
	return func(_ http.ResponseWriter, r Request) {
		select {
		case <-r.HTTP.Context().Done():
		case <-s.done:
		}
	}
}

// Result answers with a result, given as JSON.
func Result(result string) Reply { return Raw(`{"jsonrpc":"2.0","id":$ID,"result":` + result + `}`) }

// Failure answers with an error, given as JSON.
func Failure(object string) Reply { return Raw(`{"jsonrpc":"2.0","id":$ID,"error":` + object + `}`) }

// Raw answers with a body in which $ID stands for the id of the request.
func Raw(body string) Reply { return Status(http.StatusOK, body) }

// Status is Raw with another status.
func Status(code int, body string) Reply {
	return func(w http.ResponseWriter, r Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, strings.ReplaceAll(body, "$ID", string(r.ID))) // the client may be gone
	}
}

// Redirect sends the client elsewhere.
func Redirect(code int, to string) Reply {
	return func(w http.ResponseWriter, _ Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(code)
	}
}

// Endless begins a good answer and never ends it.
func Endless(w http.ResponseWriter, r Request) {
	filling := []byte(strings.Repeat("A", 64<<10))
	_, err := fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":"`, r.ID)
	for err == nil {
		_, err = w.Write(filling)
	}
}

// HangUp closes the connection without an answer.
func HangUp(http.ResponseWriter, Request) { panic(http.ErrAbortHandler) }

// CutOff announces a longer body than it sends.
func CutOff(w http.ResponseWriter, r Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":"FullAccess"}`, r.ID) // the client may be gone
}

// InTurn answers with each reply once and with the last one from then on.
func InTurn(replies ...Reply) Reply {
	var mu sync.Mutex
	next := 0
	return func(w http.ResponseWriter, r Request) {
		mu.Lock()
		reply := replies[min(next, len(replies)-1)]
		next++
		mu.Unlock()
		reply(w, r)
	}
}

// ByMethod answers each method with its reply.
func ByMethod(replies map[string]Reply) Reply {
	return func(w http.ResponseWriter, r Request) {
		if reply := replies[r.Method]; reply != nil {
			reply(w, r)
			return
		}
		Failure(`{"code":-32601,"message":"no such method"}`)(w, r)
	}
}
