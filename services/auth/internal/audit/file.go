package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// Losses count the records that are missing somewhere.
type Losses struct {
	File   uint64 // lines that the file lacks
	Merged uint64 // refused logins that share a record, because there were too many
}

// maxQueued is how many lines wait for a file that is slow.
const maxQueued = 4096

// File copies events to a file of JSON lines: one [Event] a line, appended, mode 0600. The audit in the store is the
// record, the file a copy for whoever collects logs: a disk that is full, slow or gone never holds up or fails the
// change. Lines that cannot be written are dropped and counted, and once writing works again a line of action
// "audit.file_gap" says how many are missing; [Log.List] has them.
type File struct {
	now func() time.Time
	log *slog.Logger

	w       writer // of Run alone while it runs
	queue   chan Event
	reopen  chan *os.File
	dropped atomic.Uint64
}

// fileGap is the action of the line that stands for missing ones. It is not a record of the store and has no id.
const fileGap Action = "audit.file_gap"

// NewFile returns a copy to f, from [OpenFile]; nil copies nowhere. Its owner calls Run, then Close.
func NewFile(f *os.File, now func() time.Time, log *slog.Logger) *File {
	c := &File{now: now, log: log, queue: make(chan Event, maxQueued), reopen: make(chan *os.File)}
	c.w = writer{File: c, file: f}
	return c
}

// Close closes the file. It is safe to call again.
func (c *File) Close() error {
	f := c.w.file
	c.w.file = nil
	if f == nil {
		return nil
	}
	return f.Close()
}

// OpenFile opens path as [File] writes it, making it with mode 0600 if it is absent. It refuses what is no regular
// file, and a symbolic link: who may write next to the file must not choose where it is.
func OpenFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600) //nolint:gosec // the operator's choice
	if err != nil {
		return nil, fmt.Errorf("open the audit file: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("open the audit file: " + path + " is not a regular file")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Use makes f, from [OpenFile], the file that is written; nil ends the copying. Run must be running; the file before
// it is closed.
func (c *File) Use(ctx context.Context, f *os.File) {
	select {
	case c.reopen <- f:
	case <-ctx.Done():
		if f != nil {
			_ = f.Close() // nothing was written to it
		}
	}
}

// Add takes an event. It never waits.
func (c *File) Add(e Event) {
	select {
	case c.queue <- e:
	default:
		c.dropped.Add(1)
	}
}

// Dropped returns how many lines the file lacks.
func (c *File) Dropped() uint64 { return c.dropped.Load() }

// Run writes until ctx ends, then what is queued, and returns.
func (c *File) Run(ctx context.Context) {
	w := &c.w
	for {
		select {
		case e := <-c.queue:
			w.write(e)
		case f := <-c.reopen:
			if err := c.Close(); err != nil {
				w.failed(err)
			}
			w.file, w.torn = f, false
		case <-ctx.Done():
			for {
				select {
				case e := <-c.queue:
					w.write(e)
				default:
					return
				}
			}
		}
	}
}

// writer is the state of Run.
type writer struct {
	*File
	file   *os.File
	gap    uint64    // dropped lines that the last gap line told of
	torn   bool      // the file ends with a part of a line
	warned time.Time // when a failure was last logged
}

func (w *writer) write(e Event) {
	if w.file == nil {
		return
	}
	if missing := w.dropped.Load() - w.gap; missing > 0 {
		gap := Event{Time: w.now(), Action: fileGap, Outcome: Success, Actor: BySystem, Count: missing}
		if err := w.line(gap.normalised()); err != nil {
			w.dropped.Add(1)
			w.failed(err)
			return
		}
		w.gap += missing
	}
	if err := w.line(e); err != nil {
		w.dropped.Add(1)
		w.failed(err)
	}
}

// line writes one line or, when the disk takes only a part of it, none.
func (w *writer) line(e Event) error {
	raw, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode an audit record: %w", err)
	}
	raw = append(raw, '\n')
	if w.torn {
		raw = append([]byte{'\n'}, raw...)
	}
	n, err := w.file.Write(raw)
	if err == nil {
		w.torn = false
		return nil
	}
	if n > 0 {
		w.torn = w.takeBack(int64(n)) != nil || w.torn
	}
	return err
}

// takeBack removes the last n bytes of the file.
func (w *writer) takeBack(n int64) error {
	size, err := w.file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	return w.file.Truncate(size - n)
}

// failed logs that the file is not written, at most once a minute.
func (w *writer) failed(err error) {
	now := w.now()
	if !w.warned.IsZero() && now.Sub(w.warned) < time.Minute && !now.Before(w.warned) {
		return
	}
	w.warned = now
	w.log.Error("the audit file is not written; the audit in the store is complete", "error", err, "dropped", w.dropped.Load())
}
