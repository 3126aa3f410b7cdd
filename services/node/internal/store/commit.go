package store

import (
	"errors"
	"fmt"
	"sync"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Group commit. A flush to disk costs far more than the changes do, so the committer puts every change that has
// arrived into one transaction. Nobody waits for company: a change that is alone is committed at once, and those that
// arrive during its flush form the next batch.

// maxBatch bounds how many changes share a commit, and with it how long the first of them waits for the others.
const maxBatch = 256

// Pending is a change on its way to the disk.
type Pending struct {
	fn   func(*Tx) error
	done chan struct{}
	err  error
}

// Wait waits until the change is on disk and returns nil, or until it is certain that it is not.
func (p *Pending) Wait() error {
	<-p.done
	return p.err
}

// Done is closed when [Pending.Wait] would not wait.
func (p *Pending) Done() <-chan struct{} { return p.done }

func (p *Pending) finish(err error) {
	p.err = err
	close(p.done)
}

// committer owns the queue and the goroutine that empties it.
type committer struct {
	db      *bbolt.DB
	queue   chan *Pending
	closing chan struct{}
	stopped chan struct{}
	once    sync.Once
}

func (c *committer) start(db *bbolt.DB) {
	c.db, c.queue = db, make(chan *Pending, maxBatch)
	c.closing, c.stopped = make(chan struct{}), make(chan struct{})
	go c.run()
}

func (c *committer) stop() {
	c.once.Do(func() { close(c.closing) })
	<-c.stopped
	c.drain()
}

// Enqueue hands over a change and returns without waiting for the disk; if many changes wait it waits for its place in
// the queue. Changes take effect in the order in which they were enqueued, each all or nothing, and share flushes to
// the disk with others. A change that fails takes no other with it, so one that builds upon an earlier one must look
// whether that is there.
//
// fn runs in another goroutine and, if a change beside it fails, more than once: it must have no other effects than
// those on the database. It must not start another transaction.
func (s *Store) Enqueue(fn func(*Tx) error) *Pending {
	p := &Pending{fn: fn, done: make(chan struct{})}
	select {
	case <-s.commit.closing:
		p.finish(ErrClosed)
		return p
	default:
	}
	select {
	case s.commit.queue <- p:
	case <-s.commit.closing:
		p.finish(ErrClosed)
		return p
	}
	select {
	case <-s.commit.stopped: // stop may have emptied the queue before
		s.commit.drain()
	default:
	}
	return p
}

func (c *committer) run() {
	defer close(c.stopped)
	for {
		select {
		case p := <-c.queue:
			c.write(c.batch(p))
		case <-c.closing:
			return
		}
	}
}

// drain refuses what is left in the queue. It must not run before stopped is closed: what is put into the queue after that
// is drained by whoever puts it there, and what came before it is seen here.
func (c *committer) drain() {
	for {
		select {
		case p := <-c.queue:
			p.finish(ErrClosed)
		default:
			return
		}
	}
}

// batch returns first with everything that waits behind it.
func (c *committer) batch(first *Pending) []*Pending {
	batch := []*Pending{first}
	for len(batch) < maxBatch {
		select {
		case p := <-c.queue:
			batch = append(batch, p)
		default:
			return batch
		}
	}
	return batch
}

// write commits a batch. When a change fails, what the transaction holds is given up, and those that are left start
// again without it.
func (c *committer) write(batch []*Pending) {
	for len(batch) > 0 {
		failed := -1
		err := c.db.Update(func(tx *bbolt.Tx) error {
			for i, p := range batch {
				if err := p.run(&Tx{tx}); err != nil {
					failed = i
					return err
				}
			}
			return nil
		})
		if failed < 0 {
			for _, p := range batch {
				p.finish(wrapCommit(err))
			}
			return
		}
		batch[failed].finish(err)
		batch = append(batch[:failed], batch[failed+1:]...)
	}
}

// run makes a panic of the change an error: it must not take the other changes, and the process, with it.
func (p *Pending) run(tx *Tx) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic in a change of the database: %v", v)
		}
	}()
	return p.fn(tx)
}

func wrapCommit(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, berrors.ErrDatabaseNotOpen):
		return ErrClosed
	}
	return fmt.Errorf("commit: %w", err)
}
