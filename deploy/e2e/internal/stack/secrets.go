package stack

import (
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Secrets collects every token, password, secret and signature that tests use, to look for them where they must not be.
// It is safe for concurrent use.
type Secrets struct {
	mu   sync.Mutex
	kind map[string]string // by text
}

// NewSecrets returns an empty collection.
func NewSecrets() *Secrets { return &Secrets{kind: make(map[string]string)} }

// Add remembers a secret. Of a JWT the payload and the signature are secrets on their own: half a token is one too many.
func (s *Secrets) Add(kind, text string) {
	const shortest = 8 // a shorter text would be found by chance
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(text) >= shortest {
		s.kind[text] = kind
	}
	if parts := strings.Split(text, "."); len(parts) == 3 && strings.HasPrefix(text, "eyJ") {
		s.kind[parts[1]], s.kind[parts[2]] = "payload of a "+kind, "signature of a "+kind
	}
}

// Len returns how many texts are looked for.
func (s *Secrets) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.kind)
}

// Check reports every secret that text, the content of where, holds; nil when it holds none.
func (s *Secrets) Check(where, text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for secret, kind := range s.kind {
		if at := strings.Index(text, secret); at >= 0 {
			start := strings.LastIndexByte(text[:at], '\n') + 1
			errs = append(errs, fmt.Errorf("the log of %s holds a %s, in the line that begins with %q", where, kind, text[start:min(at, start+160)]))
		}
	}
	return errors.Join(errs...)
}
