package audit_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
)

var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

func newLog(t *testing.T) (*audit.Log, kv.DB) {
	t.Helper()
	db := memory.New()
	t.Cleanup(func() {
		if err := db.Close(); err != nil && !errors.Is(err, kv.ErrClosed) {
			t.Error(err)
		}
	})
	return audit.New(db), db
}

func record(t *testing.T, l *audit.Log, events ...audit.Event) {
	t.Helper()
	if err := l.Record(t.Context(), events...); err != nil {
		t.Fatal(err)
	}
}

func list(t *testing.T, l *audit.Log, q audit.Query) audit.Page {
	t.Helper()
	if q.Limit == 0 {
		q.Limit = audit.MaxLimit
	}
	page, err := l.List(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// size returns what the records take in the store.
func size(t *testing.T, db kv.DB) (n int64) {
	t.Helper()
	err := db.View(t.Context(), func(tx kv.Tx) error {
		n = 0
		for k, v := range tx.Scan("audit", "") {
			n += int64(len(k) + len(v))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func at(minutes int) audit.Event {
	return audit.Event{Time: noon.Add(time.Duration(minutes) * time.Minute), Action: audit.LoggedIn, Subject: strconv.Itoa(minutes)}
}

func subjects(events []audit.Event) string {
	var all []string
	for _, e := range events {
		all = append(all, e.Subject)
	}
	return strings.Join(all, " ")
}

// A record exists exactly if the change that it tells of does, and so does the copy of it.
func TestAppend_SharesTheFateOfItsTransaction(t *testing.T) {
	l, db := newLog(t)
	var copied []audit.Event
	l.CopyTo(func(e audit.Event) { copied = append(copied, e) })
	boom := errors.New("boom")
	err := db.Update(t.Context(), func(tx kv.Tx) error {
		if _, err := l.Append(tx, at(0)); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatal(err)
	}
	if page := list(t, l, audit.Query{}); len(page.Events) != 0 || len(copied) != 0 {
		t.Errorf("after a transaction that failed: %v, copied %v", page.Events, copied)
	}
	record(t, l, at(1))
	record(t, l, at(2), at(3))
	page := list(t, l, audit.Query{})
	if got := subjects(page.Events); got != "1 2 3" || subjects(copied) != got {
		t.Errorf("events %q, copied %q, want 1 2 3", got, subjects(copied))
	}
	for i, e := range page.Events {
		if e.ID != uint64(i+1) || e.Outcome != audit.Success {
			t.Errorf("event %d: id %d, outcome %q", i, e.ID, e.Outcome)
		}
	}
}

func TestList(t *testing.T) {
	l, _ := newLog(t)
	if page := list(t, l, audit.Query{}); page.Events == nil || len(page.Events) != 0 || page.More {
		t.Errorf("an empty audit: %+v", page)
	}
	for i := 1; i <= 10; i++ {
		record(t, l, at(i))
	}
	for name, tt := range map[string]struct {
		query audit.Query
		want  string
		next  uint64
		more  bool
	}{
		"everything":          {audit.Query{Limit: 100}, "1 2 3 4 5 6 7 8 9 10", 10, false},
		"the newest":          {audit.Query{Limit: 3}, "8 9 10", 10, false},
		"since":               {audit.Query{Since: noon.Add(4 * time.Minute), Limit: 3}, "4 5 6", 6, true},
		"since, between two":  {audit.Query{Since: noon.Add(8*time.Minute + time.Second), Limit: 3}, "9 10", 10, false},
		"since the beginning": {audit.Query{Since: noon.Add(-time.Hour), Limit: 2}, "1 2", 2, true},
		"since the future":    {audit.Query{Since: noon.Add(time.Hour), Limit: 3}, "", 10, false},
		"after":               {audit.Query{After: 6, Limit: 3}, "7 8 9", 9, true},
		"after and since":     {audit.Query{Since: noon.Add(4 * time.Minute), After: 6, Limit: 3}, "7 8 9", 9, true},
		"after the last":      {audit.Query{After: 10, Limit: 3}, "", 10, false},
		"after the future":    {audit.Query{After: 99, Limit: 3}, "", 99, false},
		"a limit of nothing":  {audit.Query{Limit: -1}, "10", 10, false},
	} {
		page := list(t, l, tt.query)
		if got := subjects(page.Events); got != tt.want || page.Next != tt.next || page.More != tt.more {
			t.Errorf("%s: %q, next %d, more %t; want %q, %d, %t", name, got, page.Next, page.More, tt.want, tt.next, tt.more)
		}
	}
}

// A reader that follows the audit sees each record once, also those written while it reads and after cuts.
func TestList_FollowingMissesNothing(t *testing.T) {
	l, _ := newLog(t)
	seen, after := []string{}, uint64(0)
	for i := 1; i <= 40; i++ {
		record(t, l, at(i))
		if i%3 != 0 {
			continue
		}
		page := list(t, l, audit.Query{Since: noon, After: after, Limit: 2})
		seen, after = append(seen, subjects(page.Events)), page.Next
	}
	for {
		page := list(t, l, audit.Query{After: after, Limit: 7})
		seen, after = append(seen, subjects(page.Events)), page.Next
		if !page.More {
			break
		}
	}
	for i, got := range strings.Fields(strings.Join(seen, " ")) {
		if got != strconv.Itoa(i+1) {
			t.Fatalf("record %d of the reader is %s", i+1, got)
		}
	}
	if after != 40 {
		t.Errorf("the reader ended at %d, want 40", after)
	}
}

// Attack: fill the audit to push records out unseen. It stays within its bound at every moment, the oldest go, and
// a record says so.
func TestAppend_StaysWithinItsBytes(t *testing.T) {
	const limit = 32 << 10
	l, db := newLog(t)
	l.Bound(time.Hour, limit)
	for i := range 2000 {
		record(t, l, at(i))
		if n := size(t, db); n > limit+1024 {
			t.Fatalf("after %d records the audit takes %d bytes, the bound is %d", i, n, limit)
		}
	}
	page := list(t, l, audit.Query{Since: noon, Limit: 1000})
	first, cuts, gone := page.Events[0].ID, 0, uint64(0)
	for i, e := range page.Events {
		if e.ID != first+uint64(i) {
			t.Fatalf("record %d has id %d after %d: a hole", i, e.ID, first)
		}
		if e.Action == audit.Cut {
			cuts++
			gone += e.Count
			if e.Reason != "max_bytes" || e.Actor != audit.BySystem || e.Count == 0 || e.First.After(e.Last) {
				t.Errorf("the cut is recorded as %+v", e)
			}
		}
	}
	if cuts == 0 || first == 1 || gone > first {
		t.Errorf("%d cuts of %d records, the first record left is %d", cuts, gone, first)
	}
	if cuts > len(page.Events)/5 {
		t.Errorf("%d of %d records are about cuts", cuts, len(page.Events))
	}
	if got := page.Events[len(page.Events)-1].Time; !got.Equal(noon.Add(1999 * time.Minute)) {
		t.Errorf("the newest record is of %v", got)
	}
	if n := size(t, db); n < limit/2 {
		t.Errorf("only %d of %d bytes are used", n, limit)
	}
}

func TestTrim(t *testing.T) {
	l, _ := newLog(t)
	var copied []audit.Event
	l.Bound(24*time.Hour, 1<<20)
	for i := range 1500 {
		record(t, l, at(i))
	}
	l.CopyTo(func(e audit.Event) { copied = append(copied, e) })
	trim := func(now time.Time, want int) {
		t.Helper()
		n, err := l.Trim(t.Context(), now)
		if err != nil || n != want {
			t.Errorf("Trim at %v: %d, %v, want %d", now, n, err, want)
		}
	}
	trim(noon.Add(24*time.Hour), 0)
	trim(noon.Add(24*time.Hour+1000*time.Minute), 1000)
	page := list(t, l, audit.Query{Since: noon, Limit: 1000})
	if got := page.Events[0]; got.Subject != "1000" {
		t.Errorf("the oldest record left is %+v", got)
	}
	gone := uint64(0)
	for _, e := range page.Events[len(page.Events)-2:] {
		if e.Action != audit.Cut || e.Reason != "max_age" {
			t.Errorf("the cut is recorded as %+v", e)
		}
		gone += e.Count
	}
	if gone != 1000 || len(copied) != 2 {
		t.Errorf("the records tell of %d deleted ones, want 1000; %d were copied", gone, len(copied))
	}
	trim(noon.Add(24*time.Hour+1000*time.Minute), 0)
}

// A bound that is lowered on a running service holds at the next look, not after thousands of further records.
func TestTrim_LoweredBound(t *testing.T) {
	l, db := newLog(t)
	for i := range 3000 {
		record(t, l, at(i))
	}
	l.Bound(365*24*time.Hour, 64<<10)
	n, err := l.Trim(t.Context(), noon)
	if err != nil || n < 1000 || size(t, db) > 64<<10 {
		t.Errorf("Trim: %d, %v; %d bytes are left", n, err, size(t, db))
	}
	events := list(t, l, audit.Query{}).Events
	if last := events[len(events)-1]; last.Action != audit.Cut || last.Reason != "max_bytes" {
		t.Errorf("the cut is recorded as %+v", last)
	}
}

// A clock that was wrong for a while must not keep what came after it for ever.
func TestTrim_RecordsFromTheFuture(t *testing.T) {
	l, _ := newLog(t)
	l.Bound(24*time.Hour, 1<<20)
	future := at(0)
	future.Time = noon.Add(10 * 365 * 24 * time.Hour)
	record(t, l, future, future, at(1), at(2), at(2000))
	if n, err := l.Trim(t.Context(), noon.Add(25*time.Hour)); err != nil || n != 4 {
		t.Errorf("Trim: %d, %v, want the two old records and what stands before them", n, err)
	}
	if got := list(t, l, audit.Query{Since: noon, Limit: 10}).Events[0].Subject; got != "2000" {
		t.Errorf("the oldest record left is %s", got)
	}
}

// A damaged record is shown as such; what stands around it can be read, and it goes when its time comes.
func TestDamagedRecord(t *testing.T) {
	l, db := newLog(t)
	l.Bound(24*time.Hour, 1<<20)
	record(t, l, at(1), at(2), at(3), at(3000))
	err := db.Update(t.Context(), func(tx kv.Tx) error {
		return errors.Join(tx.Put("audit", fmt.Sprintf("%016x", 2), []byte(`{"id":9`)), tx.Put("audit", fmt.Sprintf("%016x", 3), nil))
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list(t, l, audit.Query{}).Events {
		got = append(got, fmt.Sprint(e.ID, e.Action))
	}
	if want := "1login.succeeded 2audit.unreadable 3audit.unreadable 4login.succeeded"; strings.ReplaceAll(strings.Join(got, ","), " ", "") != strings.ReplaceAll(want, " ", ",") {
		t.Errorf("listed %q", got)
	}
	if n, err := l.Trim(t.Context(), noon.Add(26*time.Hour)); err != nil || n != 3 {
		t.Errorf("Trim: %d, %v, want 3", n, err)
	}
}

// Attack: texts that forge lines, colours or kilobytes in what an operator reads.
func TestEvent_TextsAreCleaned(t *testing.T) {
	l, _ := newLog(t)
	evil := "a\n{\"id\":1}\x1b[31m\u202e" + strings.Repeat("ö", 5000) + "\xff"
	record(t, l, audit.Event{Time: noon, Action: audit.LoginRefused, Actor: evil, Subject: evil, Peer: evil, Reason: evil, Detail: evil, RequestID: evil})
	e := list(t, l, audit.Query{}).Events[0]
	for name, text := range map[string]string{"actor": e.Actor, "subject": e.Subject, "peer": e.Peer, "reason": e.Reason, "request id": e.RequestID, "detail": e.Detail} {
		if strings.ContainsAny(text, "\n\x1b\u202e\ufffd") || !strings.HasPrefix(text, `a?{"id":1}?[31m?`) {
			t.Errorf("%s is stored as %q", name, text[:min(len(text), 40)])
		}
		if len(text) > 1024 || name != "detail" && len(text) > 256 {
			t.Errorf("%s has %d bytes", name, len(text))
		}
	}
}

func TestNilLogRecordsNothing(t *testing.T) {
	_, db := newLog(t)
	var l *audit.Log
	err := db.Update(t.Context(), func(tx kv.Tx) error {
		events, err := l.Append(tx, at(0))
		l.Committed(events...)
		return errors.Join(err, l.Record(t.Context(), at(1)))
	})
	if err != nil || size(t, db) != 0 {
		t.Errorf("%v, %d bytes", err, size(t, db))
	}
}

func TestRecord_ClosedStore(t *testing.T) {
	l, db := newLog(t)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_, listErr := l.List(t.Context(), audit.Query{})
	_, trimErr := l.Trim(t.Context(), noon)
	for _, err := range []error{l.Record(t.Context(), at(1)), listErr, trimErr} {
		if !errors.Is(err, kv.ErrClosed) {
			t.Errorf("%v, want ErrClosed", err)
		}
	}
}
