// Package heap paces the garbage collector of a server whose live data is small.
//
// Go's default collects whenever the heap has doubled. A server that keeps 5 MiB and makes 100 MiB of short-lived
// objects a second then collects twenty times a second, which costs it a tenth of its throughput. Given a budget,
// such a server collects when the budget is used up instead; one that has outgrown its budget gets the default back,
// so the pace never costs more than it does without this package.
package heap

import (
	"context"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	defaultPercent = 100
	maxPercent     = 400
	interval       = time.Second // how often the pace follows what the last collection found alive
	slack          = 10          // percent points that are not worth the short stop of a change
)

// Pace sets how often the collector of this process runs until ctx ends, and then the default again. budget is the
// size in bytes up to which the heap may grow between two collections, garbage included. The operator's own GOGC or
// GOMEMLIMIT wins: then Pace returns at once.
func Pace(ctx context.Context, budget uint64) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	now := defaultPercent
	defer debug.SetGCPercent(defaultPercent)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		metrics.Read(sample)
		if next := Percent(sample[0].Value.Uint64(), budget); next > now+slack || next < now-slack {
			debug.SetGCPercent(next)
			now = next
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Percent returns the GOGC value with which a heap of live bytes grows to budget before the next collection: at least
// the default, at most four times of it.
func Percent(live, budget uint64) int {
	if live == 0 {
		return maxPercent
	}
	percent := (float64(budget) - float64(live)) / float64(live) * 100
	return int(math.Max(defaultPercent, math.Min(maxPercent, percent)))
}
