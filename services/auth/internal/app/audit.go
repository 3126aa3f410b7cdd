package app

import (
	"context"
	"sync"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc"
	"github.com/calimero-network/mero-go/services/auth/internal/limit"
	"github.com/calimero-network/mero-go/services/auth/internal/metrics"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

const (
	auditInterval = 15 * time.Second // between two looks for refusals whose minute is over
	trimInterval  = time.Hour
	endTimeout    = 2 * time.Second // for the last refusals
)

// openAudit sets up what is counted and recorded beside the changes themselves.
func (a *Service) openAudit() error {
	file, err := openAuditFile(a.cfg)
	if err != nil {
		return err
	}
	a.limits = limit.New(rulesOf(a.cfg), a.now)
	a.refusals = &audit.Refusals{Log: a.records.Audit}
	a.auditFile = audit.NewFile(file, a.now, a.log)
	a.cleanups = append(a.cleanups, a.auditFile.Close)
	a.records.Audit.Bound(a.cfg.Audit.MaxAge, a.cfg.Audit.MaxBytes)
	a.records.Audit.CopyTo(func(e audit.Event) {
		a.metrics.Audited(e.Action)
		a.auditFile.Add(e)
	})
	a.metrics.Watch(metrics.Sources{
		Limits: a.limits.Counts,
		Audit:  func() audit.Losses { return audit.Losses{File: a.auditFile.Dropped(), Merged: a.refusals.Merged()} },
		Live:   (&census{store: a.records, now: a.now}).count,
		RPC:    a.rpcHealth,
	})
	return nil
}

// rpcHealth reads the counters of the RPC clients, which are all there before the first request.
func (a *Service) rpcHealth() []metrics.RPC {
	all := make([]metrics.RPC, len(a.rpc))
	for i, client := range a.rpc {
		h := client.Health()
		all[i] = metrics.RPC{Name: h.Name, Up: h.State == jsonrpc.Closed, Calls: h.Calls, Failures: h.Failures, Refused: h.Refused}
	}
	return all
}

// keepAudit writes the refusals of each minute and deletes what is too old, until ctx ends.
func (a *Service) keepAudit(ctx context.Context) {
	tick := time.NewTicker(auditInterval)
	defer tick.Stop()
	var trimmed time.Time
	for {
		now := a.now()
		err := a.refusals.Flush(ctx, now, false)
		if err == nil && (now.Sub(trimmed) >= trimInterval || now.Before(trimmed)) {
			trimmed = now
			_, err = a.records.Audit.Trim(ctx, now)
		}
		if err != nil && ctx.Err() == nil {
			a.log.WarnContext(ctx, "the audit could not be kept up, trying again later", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// endAudit writes the refusals of the minute that runs, at the stop.
func (a *Service) endAudit(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	if err := a.refusals.Flush(ctx, a.now(), true); err != nil {
		a.log.WarnContext(ctx, "the last refused logins are not in the audit", "error", err)
	}
}

// census counts keys and sessions when the metrics are read. A count takes as long as the store is large, so that a
// large one is counted rarely: counting takes at most a hundredth of the time.
type census struct {
	store *store.Store
	now   func() time.Time

	mu   sync.Mutex
	last metrics.Live
	next time.Time // when the last count is too old
}

const censusShare = 100

func (c *census) count() metrics.Live {
	c.mu.Lock()
	defer c.mu.Unlock()
	started := c.now()
	if started.Before(c.next) && c.next.Sub(started) < time.Hour {
		return c.last
	}
	ctx, cancel := context.WithTimeout(context.Background(), censusTimeout)
	defer cancel()
	live, err := c.store.Census(ctx, started)
	ended := c.now()
	c.next = ended.Add(censusShare * ended.Sub(started))
	if err == nil { // else the readiness probe tells of the store
		c.last = metrics.Live{RootKeys: live.RootKeys, ClientKeys: live.ClientKeys, Sessions: live.Sessions}
	}
	return c.last
}

const censusTimeout = 20 * time.Second
