// Package gatekey keeps the keys with which the gate signs what it tells the node: the file of secret keys that gate
// and node share, and the Ed25519 keys whose public halves are published.
package gatekey

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/calimero-network/mero-go/pkg/assertion"
	"github.com/calimero-network/mero-go/services/auth/internal/owner"
)

// A new shared key lies in the file before it signs, so that every node knows it by then, and the old one stays
// until the longest assertion that it signed has ended for the slowest clock.
const (
	ahead = 30 * time.Second
	grace = 61 * time.Minute
)

// Shared is the file of keys that gate and node share (assertion.key_file), and its rotation. Its owner calls Run;
// all methods are safe for concurrent use, but one process at a time may rotate.
//
// What is left to do of a rotation lies beside the keys, in FILE.rotation, and not in the store: a restored backup
// must not bring back the plans of its day. Each step changes the keys first and the plan after, and doing it again
// changes nothing, so a process that dies in between is continued by the next.
type Shared struct {
	path string
	file *assertion.File
	now  func() time.Time
	log  *slog.Logger
	wake chan struct{} // tells Run that there is a new plan

	mu sync.Mutex // held while file and plan change
}

// plan is the content of FILE.rotation. It holds no secret. Times are Unix seconds.
type plan struct {
	V       int    `json:"v"`
	Promote *step  `json:"promote,omitempty"` // the key that becomes the first
	Drop    []step `json:"drop,omitempty"`    // the keys that are removed
}

type step struct {
	ID string `json:"kid"`
	At int64  `json:"at"`
}

// OpenShared opens the key file, making it and its directory when they are absent.
func OpenShared(path string, now func() time.Time, log *slog.Logger) (*Shared, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, err
	}
	if _, err := assertion.Create(path); err != nil {
		return nil, err
	}
	file, err := assertion.Open(path, now)
	if err != nil {
		return nil, err
	}
	return &Shared{path: path, file: file, now: now, log: log, wake: make(chan struct{}, 1)}, nil
}

// File returns the keys, to sign with.
func (s *Shared) File() *assertion.File { return s.file }

func (s *Shared) planPath() string { return s.path + ".rotation" }

// Rotate adds a key to the file. It signs after 30 s, and the old one is dropped after a further 61 minutes; Run does
// both, also in a later process. With atOnce it replaces all others immediately: nodes that have not read the file
// again refuse until they have, which they do by themselves within a second.
func (s *Shared) Rotate(ctx context.Context, atOnce bool) (kid string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kid, err = s.rotate(atOnce)
	if err != nil {
		return "", fmt.Errorf("rotate the assertion key: %w", err)
	}
	select {
	case s.wake <- struct{}{}:
	default: // it is awake already
	}
	s.log.InfoContext(ctx, "assertion key made", "kid", kid, "at_once", atOnce)
	return kid, nil
}

func (s *Shared) rotate(atOnce bool) (string, error) {
	if err := s.file.Reload(); err != nil { // somebody may have edited it
		return "", err
	}
	p, err := s.readPlan()
	if err != nil {
		return "", err
	}
	fresh := assertion.GenerateKey()
	if atOnce {
		if err := s.replace([]assertion.Key{fresh}); err != nil {
			return "", err
		}
		return fresh.ID(), s.writePlan(plan{})
	}
	keys := s.file.Ring().Keys()
	if p.Promote != nil { // it has never signed and never will
		pending := p.Promote.ID
		keys = append(keys[:1:1], slices.DeleteFunc(keys[1:], func(k assertion.Key) bool { return k.ID() == pending })...)
		p.Drop = append(p.Drop, step{pending, s.now().Unix()}) // if we die before it is out of the file
	}
	if _, err := assertion.NewRing(append(keys, fresh)...); err != nil {
		return "", err
	}
	// The plan first: a plan for a key that is not there is void, a key that nobody has plans for would stay.
	p.Promote = &step{fresh.ID(), s.now().Add(ahead).Unix()}
	if err := s.writePlan(p); err != nil {
		return "", err
	}
	return fresh.ID(), s.replace(append(keys, fresh))
}

func (s *Shared) replace(keys []assertion.Key) error {
	if err := assertion.Replace(s.path, keys...); err != nil {
		return err
	}
	return s.file.Reload()
}

// Step does what is due and returns how long it is to the next step, 0 when there is none.
func (s *Shared) Step(ctx context.Context) (time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.readPlan()
	if err != nil {
		return 0, err
	}
	if p.Promote == nil && p.Drop == nil {
		return 0, nil
	}
	if err := s.file.Reload(); err != nil {
		return 0, err
	}
	if p.Promote != nil && s.due(*p.Promote) {
		if err := s.promote(ctx, &p); err != nil {
			return 0, err
		}
	}
	if slices.ContainsFunc(p.Drop, s.due) {
		if err := s.drop(ctx, &p); err != nil {
			return 0, err
		}
	}
	return s.wait(p), nil
}

func (s *Shared) due(st step) bool { return s.now().Unix() >= st.At }

// promote makes the coming key the first and plans the end of the one before it.
func (s *Shared) promote(ctx context.Context, p *plan) error {
	keys := s.file.Ring().Keys()
	at := slices.IndexFunc(keys, func(k assertion.Key) bool { return k.ID() == p.Promote.ID })
	if at > 0 {
		former, coming := keys[0].ID(), keys[at]
		if err := s.replace(slices.Insert(slices.Delete(keys, at, at+1), 0, coming)); err != nil {
			return err
		}
		s.log.InfoContext(ctx, "a new assertion key signs", "kid", coming.ID(), "former", former)
	}
	// Also when it is the first already, because a process died here: then the former is the second.
	if keys = s.file.Ring().Keys(); at >= 0 && len(keys) > 1 && !slices.ContainsFunc(p.Drop, func(d step) bool { return d.ID == keys[1].ID() }) {
		p.Drop = append(p.Drop, step{keys[1].ID(), s.now().Add(grace).Unix()})
	}
	p.Promote = nil
	return s.writePlan(*p)
}

// drop removes the keys whose time is over, never the one that signs.
func (s *Shared) drop(ctx context.Context, p *plan) error {
	keys := s.file.Ring().Keys()
	left := append([]assertion.Key(nil), keys[0])
	for _, k := range keys[1:] {
		if slices.ContainsFunc(p.Drop, func(d step) bool { return d.ID == k.ID() && s.due(d) }) {
			s.log.InfoContext(ctx, "an old assertion key is dropped", "kid", k.ID())
			continue
		}
		left = append(left, k)
	}
	if len(left) < len(keys) {
		if err := s.replace(left); err != nil {
			return err
		}
	}
	p.Drop = slices.DeleteFunc(p.Drop, s.due)
	return s.writePlan(*p)
}

func (s *Shared) wait(p plan) time.Duration {
	var next time.Duration
	steps := p.Drop
	if p.Promote != nil {
		steps = append(slices.Clone(steps), *p.Promote)
	}
	for _, st := range steps {
		if d := max(time.Unix(st.At, 0).Sub(s.now()), time.Millisecond); next == 0 || d < next {
			next = d
		}
	}
	return next
}

const (
	retryDelay = 10 * time.Second
	maxSleep   = 15 * time.Minute // timers do not follow a clock that is set, nor a machine that slept
)

// Run goes on with rotations until ctx ends. A step that fails is logged and tried again.
func (s *Shared) Run(ctx context.Context) {
	for {
		delay, err := s.Step(ctx)
		switch {
		case err != nil:
			s.log.ErrorContext(ctx, "the rotation of the assertion key cannot go on", "error", err)
			delay = retryDelay
		case delay == 0 || delay > maxSleep:
			delay = maxSleep
		}
		timer := time.NewTimer(delay)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// maxPlan bounds the plan; a file holds at most 16 keys.
const maxPlan = 8 << 10

func (s *Shared) readPlan() (p plan, err error) {
	text, err := os.ReadFile(s.planPath())
	if errors.Is(err, fs.ErrNotExist) {
		return plan{}, nil
	}
	if err != nil {
		return plan{}, err
	}
	if len(text) > maxPlan || json.Unmarshal(text, &p) != nil || p.V != 1 {
		return plan{}, fmt.Errorf("%s is damaged: remove it when the keys in %s are right", s.planPath(), s.path)
	}
	return p, nil
}

// writePlan replaces the plan; one with nothing to do is no file.
func (s *Shared) writePlan(p plan) error {
	if p.Promote == nil && len(p.Drop) == 0 {
		if err := os.Remove(s.planPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	p.V = 1
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return owner.Replace(s.planPath(), text, 0o640)
}

// State says what a key is used for.
type State string

// The states.
const (
	Coming    State = "coming"
	Signing   State = "signing"
	Verifying State = "verifying"
)

// Status describes a key. Times are zero when they do not apply.
type Status struct {
	ID    string    `json:"kid"`
	State State     `json:"state"`
	From  time.Time `json:"from,omitzero"`  // when it begins to sign
	Until time.Time `json:"until,omitzero"` // when it is dropped; zero also for keys that only their owner removes
}

// List describes the keys in the file, the signing one first.
func (s *Shared) List() ([]Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.readPlan()
	if err != nil {
		return nil, err
	}
	if err := s.file.Reload(); err != nil {
		return nil, err
	}
	var list []Status
	for i, k := range s.file.Ring().Keys() {
		st := Status{ID: k.ID(), State: Verifying}
		switch {
		case i == 0:
			st.State = Signing
		case p.Promote != nil && p.Promote.ID == k.ID():
			st.State, st.From = Coming, time.Unix(p.Promote.At, 0).UTC()
		}
		for _, d := range p.Drop {
			if d.ID == k.ID() && i > 0 {
				st.Until = time.Unix(d.At, 0).UTC()
			}
		}
		list = append(list, st)
	}
	return list, nil
}
