package stream_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/event"
	"github.com/calimero-network/mero-go/services/node/internal/store"
	"github.com/calimero-network/mero-go/services/node/internal/stream"
)

func TestSSE_ConnectAndEvents(t *testing.T) { // node check F59
	s := start(t, options{})
	c := s.get("key", "")
	session := c.Header.Get("X-SSE-Session-ID")
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream", "X-Accel-Buffering": "no", "X-SSE-Reconnect": "false",
	} {
		if got := c.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	want := frame{"message", session + "-0", "3000", `{"type":"connect","session_id":"` + session + `","reconnect":false}`, ""}
	if got := c.next(); got != want {
		t.Errorf("connect: %+v\nwant     %+v", got, want)
	}
	if n, err := strconv.ParseUint(session, 10, 64); err != nil || n >= 1<<53 {
		t.Errorf("session id %s: %v, want a number that JavaScript holds", session, err)
	}
	status, body := s.post("key", `{"id":"`+session+`","method":"subscribe","params":{"contextIds":["`+ctxA.String()+`"],"groupIds":["`+event.OfGroup(grp).String()+`"]}}`)
	if want := `{"status":"subscribed","contexts":["` + ctxA.String() + `"],"groups":["` + event.OfGroup(grp).String() + `"]}`; status != 200 || !sameJSON(body, want) {
		t.Errorf("subscribe: %d %s, want %s", status, body, want)
	}
	s.publish(mutation(ctxB, 1), mutation(ctxA, 2))
	if got, want := c.next(), (frame{"message", session + "-2", "", `{"result":` + shown(ctxA, 2) + `}`, ""}); got != want {
		t.Errorf("event: %+v\nwant   %+v", got, want)
	}
	status, body = s.info("key", session)
	if want := fmt.Sprintf(`{"session_id":%s,"subscriptions":["%s","%s"],"event_counter":2,"status":"active"}`, session, ctxA, event.OfGroup(grp)); status != 200 || !sameJSON(body, want) {
		t.Errorf("session: %d %s, want %s", status, body, want)
	}
	status, body = s.post("key", `{"id":`+session+`,"method":"unsubscribe","params":{"contextIds":["`+ctxA.String()+`","`+ctxB.String()+`"]}}`)
	if want := fmt.Sprintf(`{"status":"unsubscribed","unsubscribed":["%s"],"requested":["%s","%s"]}`, ctxA, ctxA, ctxB); status != 200 || !sameJSON(body, want) {
		t.Errorf("unsubscribe: %d %s, want %s", status, body, want)
	}
	s.publish(mutation(ctxA, 3), event.Membership{Group: grp, Change: event.MemberRemoved, Account: "00"})
	if got := c.next(); got.id != session+"-4" || !strings.Contains(got.data, "MemberRemoved") {
		t.Errorf("after unsubscribing: %+v", got)
	}
}

// idsOf reads count frames and returns the numbers of their events, which must be those of one session and ascend.
func idsOf(t *testing.T, c *sse, session string, count int) (seqs []int) {
	t.Helper()
	for range count {
		f := c.next()
		name, seq, _ := strings.Cut(f.id, "-")
		n, err := strconv.Atoi(seq)
		if err != nil || name != session || len(seqs) > 0 && n <= seqs[len(seqs)-1] {
			t.Fatalf("frame %+v after %v of session %s", f, seqs, session)
		}
		seqs = append(seqs, n)
	}
	return seqs
}

func TestSSE_ResumesWithoutGapOrRepetition(t *testing.T) { // node check F60
	s := start(t, options{})
	c, session := s.session("key")
	s.listen("key", session, ctxA)
	s.publish(mutation(ctxA, 1), mutation(ctxA, 2), mutation(ctxA, 3))
	idsOf(t, c, session, 2)
	c.leave()
	s.ended(stream.SSE, "client_left")
	s.publish(mutation(ctxB, 4), mutation(ctxA, 5))

	c = s.get("key", session+"-2")
	if f := c.next(); c.Header.Get("X-SSE-Reconnect") != "true" || f.id != session+"-2" || !strings.Contains(f.data, `"reconnect":true`) {
		t.Errorf("reconnect: %v %+v", c.Header, f)
	}
	s.publish(mutation(ctxA, 6))
	if got := idsOf(t, c, session, 3); !slices.Equal(got, []int{3, 5, 6}) {
		t.Errorf("got %v, want 3, 5 and 6", got)
	}
	again := s.get("key", session+"-5") // while the first is still there
	if f := again.next(); !strings.Contains(f.data, `"reconnect":true`) {
		t.Errorf("reconnect: %+v", f)
	}
	if f := c.next(); f.data != `{"type":"close","reason":"replaced"}` || f.id != "" {
		t.Errorf("the connection that was replaced: %+v", f)
	}
	s.publish(mutation(ctxA, 7))
	if got := idsOf(t, again, session, 2); !slices.Equal(got, []int{6, 7}) {
		t.Errorf("got %v, want 6 and 7", got)
	}
	if f := c.next(); f != (frame{}) {
		t.Errorf("the connection that was replaced goes on: %+v", f)
	}
}

func TestSSE_ResumesAfterARestart(t *testing.T) { // node check F61
	dir := t.TempDir()
	s := start(t, options{dir: dir})
	c, session := s.session("key")
	s.listen("key", session, ctxA)
	s.publish(mutation(ctxA, 1), mutation(ctxA, 2))
	idsOf(t, c, session, 1)
	go s.Hub.Close()
	f := c.next()
	for strings.Contains(f.data, "result") {
		f = c.next()
	}
	if f.data != `{"type":"close","reason":"shutting_down"}` {
		t.Errorf("at the stop: %+v", f)
	}
	s.stop()

	s = start(t, options{dir: dir})
	s.publish(mutation(ctxA, 3))
	if status, body := s.info("key", session); status != 200 || !strings.Contains(body, `"persisted"`) {
		t.Errorf("after the restart: %d %s", status, body)
	}
	c = s.get("key", session+"-1")
	if f := c.next(); !strings.Contains(f.data, `"reconnect":true`) {
		t.Errorf("reconnect: %+v", f)
	}
	s.publish(mutation(ctxA, 4))
	if got := idsOf(t, c, session, 3); !slices.Equal(got, []int{2, 3, 4}) {
		t.Errorf("got %v, want 2, 3 and 4", got)
	}
}

func TestSSE_SubscriptionWhileAwayCountsFromThen(t *testing.T) {
	s := start(t, options{})
	c, session := s.session("key")
	s.publish(mutation(ctxA, 1))
	c.leave()
	s.ended(stream.SSE, "client_left")
	s.publish(mutation(ctxA, 2))
	s.listen("key", session, ctxA)
	s.publish(mutation(ctxA, 3))
	c = s.get("key", session+"-0")
	c.next()
	if got := idsOf(t, c, session, 1); got[0] != 3 {
		t.Errorf("got %v, want 3", got)
	}
}

func TestSSE_IsToldOfLostEvents(t *testing.T) {
	s := start(t, options{limits: store.EventLimits{Count: 3, Bytes: 1 << 20}})
	c, session := s.session("key")
	s.listen("key", session, ctxA)
	c.leave()
	s.ended(stream.SSE, "client_left")
	for n := range byte(10) {
		s.publish(mutation(ctxA, n))
	}
	c = s.get("key", session+"-0")
	c.next()
	if got, want := c.next(), (frame{"message", session + "-7", "", `{"type":"lost","from":1,"to":7}`, ""}); got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if got := idsOf(t, c, session, 3); !slices.Equal(got, []int{8, 9, 10}) {
		t.Errorf("after the loss: %v", got)
	}
}

func TestSSE_OddLastEventIDMakesANewSession(t *testing.T) {
	s := start(t, options{})
	_, session := s.session("key")
	_, foreign := s.session("other")
	for _, last := range []string{
		"", "x", "-", "1-", "-1", "0-0", "4503599627370497-1", session, session + "-", session + "-x", session + "--1", session + "-1-1", " " + session + "+1-1",
		"0" + session + "-1", session + "-01", strings.Repeat("9", 400) + "-1", foreign + "-0",
	} {
		c := s.get("key", last)
		if f := c.next(); c.Header.Get("X-SSE-Reconnect") != "false" || strings.HasPrefix(f.id, session+"-") || strings.HasPrefix(f.id, foreign+"-") {
			t.Errorf("Last-Event-ID %q: %+v", last, f)
		}
		c.leave()
	}
	// A number that no event has yet is the newest one.
	s.listen("key", session, ctxA)
	s.publish(mutation(ctxA, 1))
	c := s.get("key", session+"-18446744073709551615")
	if f := c.next(); f.id != session+"-1" {
		t.Errorf("a number of the future: %+v", f)
	}
	s.publish(mutation(ctxA, 2))
	if got := idsOf(t, c, session, 1); got[0] != 2 {
		t.Errorf("after a number of the future: %v", got)
	}
}

func TestSSE_AnotherKeysSession(t *testing.T) {
	s := start(t, options{})
	_, session := s.session("key")
	body := `{"id":"` + session + `","method":"%s","params":{"contextIds":["` + ctxA.String() + `"]}}`
	s.listen("key", session, ctxA)
	for _, as := range []string{"other", ""} {
		for _, method := range []string{"subscribe", "unsubscribe"} {
			if status, text := s.post(as, fmt.Sprintf(body, method)); status != 403 {
				t.Errorf("%s by %q: %d %s", method, as, status, text)
			}
		}
		if status, text := s.info(as, session); status != 403 || strings.Contains(text, ctxA.String()) {
			t.Errorf("session by %q: %d %s", as, status, text)
		}
	}
	if _, text := s.info("key", session); !strings.Contains(text, ctxA.String()) {
		t.Errorf("the session lost its subscription: %s", text)
	}
}

func TestSSE_SubscriptionNeedsThePermission(t *testing.T) {
	s := start(t, options{})
	// One key, two tokens: what the lesser one opened must not carry what only the other may see.
	s.as("narrow", s.key("key", "context:subscribe", "context["+ctxA.String()+"]"))
	c, session := s.session("narrow")
	for _, as := range []string{"narrow", "key"} {
		if status, text := s.post(as, `{"id":"`+session+`","method":"subscribe","params":{"contextIds":["`+ctxA.String()+`","`+ctxB.String()+`"]}}`); status != 403 {
			t.Errorf("subscribe as %s: %d %s", as, status, text)
		}
	}
	s.listen("narrow", session, ctxA)
	s.publish(mutation(ctxB, 1), mutation(ctxA, 2))
	if got := idsOf(t, c, session, 1); got[0] != 2 {
		t.Errorf("got %v, want 2", got)
	}
	c.leave()
	s.ended(stream.SSE, "client_left")

	s.listen("key", session, ctxB) // nobody is connected
	c = s.get("narrow", session+"-2")
	c.next()
	s.publish(mutation(ctxB, 3), mutation(ctxA, 4))
	if got := idsOf(t, c, session, 1); got[0] != 4 {
		t.Errorf("a stream of the lesser token: %v, want 4", got)
	}
	wide := s.get("key", session+"-2")
	wide.next()
	if got := idsOf(t, wide, session, 2); !slices.Equal(got, []int{3, 4}) {
		t.Errorf("a stream of the greater token: %v, want 3 and 4", got)
	}
}

func TestSSE_BadRequests(t *testing.T) { // node check F62
	s := start(t, options{config: func(c *stream.Config) { c.MaxTopics = 1 }})
	c, session := s.session("")
	for body, want := range map[string]int{
		`{"id":"x","method":"subscribe","params":{}}`:                                                                             400,
		`{"id":null,"method":"subscribe","params":{}}`:                                                                            400,
		`{"method":"subscribe","params":{}}`:                                                                                      400,
		`{"id":"-1","method":"subscribe","params":{}}`:                                                                            400,
		`{"id":"1","method":"subscribe","params":{}}`:                                                                             404,
		`{"id":"1","method":"unsubscribe","params":{}}`:                                                                           404,
		`{"id":"` + session + `","method":"execute","params":{}}`:                                                                 400,
		`{"id":"` + session + `","params":{}}`:                                                                                    400,
		`{"id":"` + session + `","method":"subscribe"}`:                                                                           400,
		`{"id":"` + session + `","method":"subscribe","params":[]}`:                                                               400,
		`{"id":"` + session + `","method":"subscribe","params":{"contextIds":["x"]}}`:                                             400,
		`{"id":"` + session + `","method":"subscribe","params":{"groupIds":["x"]}}`:                                               400,
		`{"id":"` + session + `","method":"subscribe","params":{"contextIds":[7]}}`:                                               400,
		`{"id":"` + session + `","method":"subscribe","params":{"contextIds":["` + ctxA.String() + `","` + ctxB.String() + `"]}}`: 400,
		``: 400, `{`: 400, `[]`: 400, `null`: 400,
	} {
		if status, text := s.post("", body); status != want {
			t.Errorf("%s: %d %s, want %d", body, status, text, want)
		}
	}
	for session, want := range map[string]int{"x": 400, "": 400, "-1": 400, "1": 404, "99999999999999999999": 400} {
		if status, text := s.info("", session); status != want {
			t.Errorf("session %q: %d %s, want %d", session, status, text, want)
		}
	}
	if _, text := s.info("", session); !strings.Contains(text, `"subscriptions":[]`) {
		t.Errorf("a refused request has changed the session: %s", text)
	}
	c.leave()
}

func TestSSE_SessionExpires(t *testing.T) {
	s := start(t, options{})
	c, session := s.session("")
	s.clock.Store(25 * 3600)
	if status, _ := s.info("", session); status != 200 {
		t.Errorf("a session in use after a day: %d", status)
	}
	s.clock.Store(0)
	c.leave()
	s.ended(stream.SSE, "client_left")
	s.clock.Store(23 * 3600)
	if status, _ := s.info("", session); status != 200 {
		t.Errorf("an idle session after 23 hours: %d", status)
	}
	s.clock.Store(25 * 3600)
	if status, body := s.info("", session); status != http.StatusGone || body != "Session expired" {
		t.Errorf("an idle session after 25 hours: %d %s", status, body)
	}
	if status, _ := s.post("", `{"id":"`+session+`","method":"subscribe","params":{}}`); status != http.StatusGone {
		t.Errorf("subscription of an idle session after 25 hours: %d", status)
	}
	if c := s.get("", session+"-0"); c.Header.Get("X-SSE-Reconnect") != "false" {
		t.Error("an expired session was resumed")
	}
}

func TestSSE_EndsWithItsToken(t *testing.T) {
	s := start(t, options{})
	s.as("brief", s.brief("context:subscribe"))
	for _, end := range [][2]string{{"brief", "token_expired"}, {"key", "token_revoked"}} {
		as, want := end[0], end[1]
		c, _ := s.session(as)
		if as == "key" {
			s.mu.Lock()
			s.revoke["key"](caller.ErrRevoked)
			s.mu.Unlock()
		}
		if f := c.next(); f.event != "message" || f.data != `{"type":"close","reason":"`+want+`"}` {
			t.Errorf("%s: %+v", as, f)
		}
		if f := c.next(); f != (frame{}) {
			t.Errorf("%s goes on: %+v", as, f)
		}
	}
}

func TestSSE_KeepAlive(t *testing.T) {
	s := start(t, options{config: func(c *stream.Config) { c.KeepAlive = 10 * time.Millisecond }})
	c, session := s.session("")
	s.clock.Store(2 * 3600)
	for range 5 {
		if f := c.next(); f != (frame{comment: "keep-alive"}) {
			t.Fatalf("got %+v", f)
		}
	}
	c.leave()
	s.ended(stream.SSE, "client_left")
	s.clock.Store(25 * 3600) // the session was in use two hours after its start
	if status, _ := s.info("", session); status != 200 {
		t.Errorf("23 hours after its last use: %d", status)
	}
}

func TestSSE_SlowClientIsCut(t *testing.T) {
	s := start(t, options{config: func(c *stream.Config) { c.WriteTimeout = time.Second }})
	s.Client().Transport = slowClient.Transport
	_, session := s.session("key")
	s.listen("key", session, ctxA)
	for range 8 {
		s.publish(big)
	}
	s.ended(stream.SSE, "slow_client")
}

func TestSSE_SlowClientHoldsNobodyUp(t *testing.T) {
	s := start(t, options{})
	s.Client().Transport = slowClient.Transport
	_, session := s.session("key")
	s.listen("key", session, ctxA)
	quick := s.dial("key")
	quick.ask(subscribe(ctxA), subscribed(ctxA))
	for range 8 {
		s.publish(big)
		quick.receive()
	}
	began := time.Now() // nor the stop
	s.Hub.Close()
	if took := time.Since(began); took > 30*time.Second { // half of what the client has to take what is sent
		t.Errorf("the stop took %s", took)
	}
}

func TestSSE_OldSessionsMakeRoom(t *testing.T) {
	dir := t.TempDir()
	db, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	used := func(d time.Duration) time.Time { return now.Add(-d) }
	if err := db.Enqueue(func(tx *store.Tx) error {
		for n := range uint64(4096) {
			if err := tx.PutSession(store.Session{ID: n + 1, Owner: "key", Used: used(time.Duration(n) * time.Second)}); err != nil {
				return err
			}
		}
		return errors.Join(
			tx.PutSession(store.Session{ID: 8001, Owner: "other", Used: used(20 * time.Hour)}),
			tx.PutSession(store.Session{ID: 8002, Owner: "other", Used: used(30 * time.Hour)}),
		)
	}).Wait(); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := start(t, options{dir: dir})
	s.session("other")
	if status, _ := s.info("other", "8002"); status != http.StatusGone {
		t.Error("a session of another key made room although there was enough")
	}
	s.session("key")
	s.session("key")
	for session, want := range map[string]int{"1": 200, "3584": 200, "3585": 404, "4096": 404} {
		if status, _ := s.info("key", session); status != want {
			t.Errorf("session %s of the crowded key: %d, want %d", session, status, want)
		}
	}
	for session, want := range map[string]int{"8001": 200, "8002": 404} {
		if status, _ := s.info("other", session); status != want {
			t.Errorf("session %s of another key: %d, want %d", session, status, want)
		}
	}
}
