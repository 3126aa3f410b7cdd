package audit_test

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/audit"
)

func TestRefusals_OneRecordAMinute(t *testing.T) {
	l, _ := newLog(t)
	r := audit.Refusals{Log: l}
	guess := audit.Refusal{Peer: "192.0.2.1", Account: "user_password:alice", Reason: "unauthenticated"}
	other := guess
	other.Account = "user_password:bob"
	for i := range 30 {
		r.Add(guess, noon.Add(time.Duration(i)*time.Second))
	}
	r.Add(other, noon.Add(30*time.Second))
	if err := r.Flush(t.Context(), noon.Add(59*time.Second), false); err != nil {
		t.Fatal(err)
	}
	if got := list(t, l, audit.Query{}).Events; len(got) != 0 {
		t.Errorf("before the minute ends: %+v", got)
	}
	r.Add(guess, noon.Add(61*time.Second))
	if err := r.Flush(t.Context(), noon.Add(62*time.Second), false); err != nil {
		t.Fatal(err)
	}
	got := list(t, l, audit.Query{}).Events
	if len(got) != 2 {
		t.Fatalf("%d records, want 2: %+v", len(got), got)
	}
	first := got[0]
	if first.Action != audit.LoginRefused || first.Outcome != audit.Refused || first.Peer != guess.Peer || first.Subject != guess.Account ||
		first.Reason != guess.Reason || first.Count != 30 || !first.First.Equal(noon) || !first.Last.Equal(noon.Add(29*time.Second)) ||
		!first.Time.Equal(noon.Add(62*time.Second)) {
		t.Errorf("record %+v", first)
	}
	if got[1].Subject != other.Account || got[1].Count != 1 {
		t.Errorf("record %+v", got[1])
	}
	if err := r.Flush(t.Context(), noon.Add(63*time.Second), true); err != nil { // at the stop
		t.Fatal(err)
	}
	if got := list(t, l, audit.Query{}).Events; len(got) != 3 || got[2].Count != 1 {
		t.Errorf("after the stop: %+v", got)
	}
}

// Attack: a flood of guesses from many addresses must neither fill memory nor push the changes out of the audit.
func TestRefusals_FloodFromManyAddresses(t *testing.T) {
	l, db := newLog(t)
	r := audit.Refusals{Log: l}
	const addresses = 100_000
	for i := range addresses {
		r.Add(audit.Refusal{Peer: fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), Account: strconv.Itoa(i), Reason: "unauthenticated"}, noon)
	}
	if err := r.Flush(t.Context(), noon.Add(time.Minute), false); err != nil {
		t.Fatal(err)
	}
	events, total := list(t, l, audit.Query{}).Events, uint64(0)
	for _, e := range events {
		total += e.Count
	}
	if len(events) > 300 || total != addresses {
		t.Errorf("%d records of %d refusals, want few of %d", len(events), total, addresses)
	}
	if n := size(t, db); n > 128<<10 {
		t.Errorf("a minute of the flood takes %d bytes", n)
	}
	if merged := r.Merged(); merged < addresses-300 {
		t.Errorf("%d refusals counted as merged", merged)
	}
}

// A store that takes no writes keeps nobody from logging in, and what could not be written comes later.
func TestRefusals_StoreFails(t *testing.T) {
	broken, db := newLog(t)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	r := audit.Refusals{Log: broken}
	for i := range 100_000 {
		r.Add(audit.Refusal{Account: strconv.Itoa(i % 200), Reason: "unauthenticated"}, noon.Add(time.Duration(i)*time.Second))
		if i%1000 == 0 {
			if err := r.Flush(t.Context(), noon.Add(time.Duration(i)*time.Second), false); err == nil && i > 0 {
				t.Fatal("Flush to a closed store succeeds")
			}
		}
	}
	l, _ := newLog(t)
	r.Log = l
	if err := r.Flush(t.Context(), noon.Add(100_000*time.Second), true); err != nil {
		t.Fatal(err)
	}
	if total := recorded(t, l) + r.Merged(); total != 100_000 {
		t.Errorf("%d refusals are accounted for, want 100000", total)
	}
}

func TestRefusals_Parallel(t *testing.T) {
	l, _ := newLog(t)
	r := audit.Refusals{Log: l}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 500 {
				r.Add(audit.Refusal{Account: strconv.Itoa(i % 7), Reason: "unauthenticated"}, noon.Add(time.Duration(i)*time.Second))
				if err := r.Flush(t.Context(), noon.Add(time.Duration(i)*time.Second), i%50 == 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := r.Flush(t.Context(), noon.Add(time.Hour), true); err != nil {
		t.Fatal(err)
	}
	if total := recorded(t, l) + r.Merged(); total != 8*500 {
		t.Errorf("%d refusals recorded, want %d", total, 8*500)
	}
}

// recorded counts the refusals that the audit holds.
func recorded(t *testing.T, l *audit.Log) (total uint64) {
	t.Helper()
	for after, more := uint64(0), true; more; {
		page := list(t, l, audit.Query{Since: noon, After: after})
		for _, e := range page.Events {
			total += e.Count
		}
		after, more = page.Next, page.More
	}
	return total
}
