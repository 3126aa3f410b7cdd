package jsonrpc_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/freeport"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc/jsonrpctest"
)

const apiKey = "api-key-of-the-test"

// clock is a clock that tests move.
type clock struct{ nanos atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(0, c.nanos.Load()) }
func (c *clock) advance(d time.Duration) { c.nanos.Add(int64(d)) }

// newClient returns a client of a server with a time-out that no answer of these tests needs.
func newClient(t testing.TB, s *jsonrpctest.Server) (*jsonrpc.Client, *clock) {
	t.Helper()
	return clientOf(t, jsonrpc.Options{Name: "near", URL: s.URL + "/v1/path-key?q=query-key", APIKey: apiKey, Timeout: 30 * time.Second})
}

func clientOf(t testing.TB, o jsonrpc.Options) (*jsonrpc.Client, *clock) {
	t.Helper()
	now := new(clock)
	o.Now = now.now
	c := jsonrpc.New(o)
	t.Cleanup(c.Close)
	return c, now
}

func call(t testing.TB, c *jsonrpc.Client) (string, error) {
	t.Helper()
	result, err := c.Call(t.Context(), "query", map[string]string{"a": "b"})
	return string(result), err
}

// wantUnavailable fails unless err says, without any secret, that there was no usable answer, and why.
func wantUnavailable(t testing.TB, what string, err error, why string) {
	t.Helper()
	if !errors.Is(err, jsonrpc.ErrUnavailable) || !strings.Contains(err.Error(), why) {
		t.Errorf("%s: %v, want ErrUnavailable with %q", what, err, why)
		return
	}
	for _, secret := range []string{apiKey, "path-key", "query-key"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error shows a secret: %v", what, err)
		}
	}
}

func TestCall(t *testing.T) {
	s := jsonrpctest.Start(t, jsonrpctest.Result(`{"permission":"FullAccess"}`))
	c, _ := newClient(t, s)
	for range 2 {
		if got, err := call(t, c); err != nil || got != `{"permission":"FullAccess"}` {
			t.Fatalf("Call = %s, %v", got, err)
		}
	}
	requests := s.Requests()
	if len(requests) != 2 || string(requests[0].ID) == string(requests[1].ID) {
		t.Fatalf("%d requests with ids %s, want two with ids of their own", len(requests), requests[0].ID)
	}
	r := requests[0]
	if r.Version != "2.0" || r.Method != "query" || string(r.Params) != `{"a":"b"}` {
		t.Errorf("request = %+v", r)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "X-Api-Key": apiKey, "Authorization": "Bearer " + apiKey, "Accept-Encoding": "",
	} {
		if got := r.HTTP.Header.Get(name); got != want {
			t.Errorf("header %s = %q, want %q", name, got, want)
		}
	}
	if r.HTTP.Method != http.MethodPost || r.HTTP.URL.RequestURI() != "/v1/path-key?q=query-key" {
		t.Errorf("%s %s", r.HTTP.Method, r.HTTP.URL.RequestURI())
	}
	if want := (jsonrpc.Health{Name: "near", Calls: 2, State: jsonrpc.Closed}); c.Health() != want {
		t.Errorf("Health = %+v, want %+v", c.Health(), want)
	}
}

func TestCall_NoAPIKey(t *testing.T) {
	s := jsonrpctest.Start(t, jsonrpctest.Result(`1`))
	c, _ := clientOf(t, jsonrpc.Options{Name: "eth", URL: s.URL})
	if _, err := call(t, c); err != nil {
		t.Fatal(err)
	}
	if h := s.Requests()[0].HTTP.Header; h.Get("Authorization")+h.Get("X-Api-Key") != "" {
		t.Errorf("headers %v, want no key", h)
	}
}

// A plain "no" is an answer: it is handed over as it is, and says nothing bad about the server.
func TestCall_ErrorOfTheServer(t *testing.T) {
	s := jsonrpctest.Start(t, nil)
	c, _ := newClient(t, s)
	for object, code := range map[string]int64{
		`{"code":-32000,"message":"no","name":"HANDLER_ERROR"}`: -32000,
		`{"name":"HANDLER_ERROR"}`:                              0,
		`{"code":"-32000"}`:                                     0,
		`{"code":1e3}`:                                          0,
		`{}`:                                                    0,
	} {
		s.Set(jsonrpctest.Raw(`{"jsonrpc":"2.0","id":$ID,"result":null,"error":` + object + `}`))
		result, err := call(t, c)
		refusal, is := errors.AsType[*jsonrpc.Error](err)
		if !is || result != "" || refusal.Code != code || string(refusal.Object) != object || errors.Is(err, jsonrpc.ErrUnavailable) {
			t.Errorf("answer %s: %s, %v, want an *Error with code %d and the object", object, result, err, code)
		}
		if len(s.Requests()) != 1 {
			t.Errorf("answer %s: asked again", object)
		}
	}
	if h := c.Health(); h.Failures != 0 || h.State != jsonrpc.Closed {
		t.Errorf("Health = %+v, want no failure", h)
	}
}

// Whatever is not exactly an answer to this call is no answer, and is not asked for a second time.
func TestCall_LyingServer(t *testing.T) {
	const good = `"result":{"permission":"FullAccess"}`
	canary := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer canary.Close()
	for name, tt := range map[string]struct {
		reply jsonrpctest.Reply
		why   string
	}{
		"another id":               {jsonrpctest.Raw(`{"jsonrpc":"2.0","id":99999,` + good + `}`), "another call"},
		"id as a text":             {jsonrpctest.Raw(`{"jsonrpc":"2.0","id":"$ID",` + good + `}`), "another call"},
		"id as a float":            {jsonrpctest.Raw(`{"jsonrpc":"2.0","id":$ID.0,` + good + `}`), "another call"},
		"no id":                    {jsonrpctest.Raw(`{"jsonrpc":"2.0",` + good + `}`), "another call"},
		"two ids":                  {jsonrpctest.Raw(`{"jsonrpc":"2.0","id":1,"id":$ID,` + good + `}`), "one reading"},
		"two results":              {jsonrpctest.Raw(`{"jsonrpc":"2.0","id":$ID,"result":1,` + good + `}`), "one reading"},
		"two results in two cases": {jsonrpctest.Raw(`{"jsonrpc":"2.0","id":$ID,"Result":1,` + good + `}`), "one reading"},
		"result in another case":   {jsonrpctest.Raw(`{"jsonrpc":"2.0","id":$ID,"Result":"x"}`), "exactly one of"},
		"result and error":         {jsonrpctest.Raw(`{"jsonrpc":"2.0","id":$ID,"error":{},` + good + `}`), "exactly one of"},
		"neither":                  {jsonrpctest.Raw(`{"jsonrpc":"2.0","id":$ID}`), "exactly one of"},
		"both null":                {jsonrpctest.Raw(`{"jsonrpc":"2.0","id":$ID,"result":null,"error":null}`), "exactly one of"},
		"error as a text":          {jsonrpctest.Failure(`"no"`), "error is no object"},
		"error as a list":          {jsonrpctest.Failure(`[]`), "error is no object"},
		"version 1":                {jsonrpctest.Raw(`{"jsonrpc":"1.0","id":$ID,` + good + `}`), "2.0"},
		"version as a number":      {jsonrpctest.Raw(`{"jsonrpc":2.0,"id":$ID,` + good + `}`), "2.0"},
		"no version":               {jsonrpctest.Raw(`{"id":$ID,` + good + `}`), "2.0"},
		"a batch":                  {jsonrpctest.Raw(`[{"jsonrpc":"2.0","id":$ID,` + good + `}]`), "one reading"},
		"null":                     {jsonrpctest.Raw(`null`), "one reading"},
		"nothing":                  {jsonrpctest.Raw(``), "one reading"},
		"HTML":                     {jsonrpctest.Raw(`<html>Bad gateway</html>`), "one reading"},
		"truncated JSON":           {jsonrpctest.Raw(`{"jsonrpc":"2.0","id":$ID,"result":{"permission":"Full`), "one reading"},
		"two documents":            {jsonrpctest.Raw(`{"jsonrpc":"2.0","id":$ID,` + good + `}{}`), "one reading"},
		"no UTF-8":                 {jsonrpctest.Raw("{\"jsonrpc\":\"2.0\",\"id\":ID,\"result\":\"\xff\"}"), "one reading"},
		"depth":                    {jsonrpctest.Result(strings.Repeat("[", 100) + strings.Repeat("]", 100)), "one reading"},
		"status 500":               {jsonrpctest.Status(500, `{"jsonrpc":"2.0","id":$ID,`+good+`}`), "HTTP status 500"},
		"status 429":               {jsonrpctest.Status(429, ``), "HTTP status 429"},
		"status 204":               {jsonrpctest.Status(204, ``), "HTTP status 204"},
		"status 203":               {jsonrpctest.Status(203, `{"jsonrpc":"2.0","id":$ID,`+good+`}`), "HTTP status 203"},
		"redirect 302":             {jsonrpctest.Redirect(302, canary.URL), "HTTP status 302"},
		"redirect 307":             {jsonrpctest.Redirect(307, canary.URL), "HTTP status 307"},
		"redirect 308 to metadata": {jsonrpctest.Redirect(308, "http://169.254.169.254/latest"), "HTTP status 308"},
		"endless body":             {jsonrpctest.Endless, "longer than 1048576 bytes"},
		"huge body":                {jsonrpctest.Result(`"` + strings.Repeat("a", 1<<20) + `"`), "longer than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			s := jsonrpctest.Start(t, tt.reply)
			c, _ := newClient(t, s)
			result, err := call(t, c)
			wantUnavailable(t, "Call", err, tt.why)
			if result != "" {
				t.Errorf("result = %.100q", result)
			}
			if n := len(s.Requests()); n != 1 {
				t.Errorf("asked %d times, want once", n)
			}
			if h := c.Health(); h.Calls != 1 || h.Failures != 1 || h.Refused != 0 {
				t.Errorf("Health = %+v, want one call that failed", h)
			}
		})
	}
}

// compressed is a server that answers with more than was asked for; without decompression it is not JSON.
func TestCall_CompressedAnswer(t *testing.T) {
	s := jsonrpctest.Start(t, func(w http.ResponseWriter, _ jsonrpctest.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, "\x1f\x8b\x08")
	})
	c, _ := newClient(t, s)
	_, err := call(t, c)
	wantUnavailable(t, "Call", err, "one reading")
}

// Only when no answer came back is it worth asking again.
func TestCall_TransportFailuresAreRetried(t *testing.T) {
	good := jsonrpctest.Result(`1`)
	for name, tt := range map[string]struct {
		reply jsonrpctest.Reply
		asked int
		ok    bool
	}{
		"hangs up once":        {jsonrpctest.InTurn(jsonrpctest.HangUp, good), 2, true},
		"hangs up twice":       {jsonrpctest.InTurn(jsonrpctest.HangUp, jsonrpctest.HangUp, good), 3, true},
		"hangs up three times": {jsonrpctest.HangUp, 3, false},
		"cuts off once":        {jsonrpctest.InTurn(jsonrpctest.CutOff, good), 2, true},
		"always cuts off":      {jsonrpctest.CutOff, 3, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := jsonrpctest.Start(t, tt.reply)
			c, _ := newClient(t, s)
			got, err := call(t, c)
			if tt.ok && (err != nil || got != "1") {
				t.Errorf("Call = %s, %v, want 1", got, err)
			}
			if !tt.ok {
				wantUnavailable(t, "Call", err, "EOF")
			}
			requests := s.Requests()
			if len(requests) != tt.asked {
				t.Errorf("asked %d times, want %d", len(requests), tt.asked)
			}
			for _, r := range requests {
				if string(r.ID) != string(requests[0].ID) {
					t.Errorf("a second try has the id %s, the first had %s", r.ID, requests[0].ID)
				}
			}
		})
	}
}

// A server, or what stands before it, that answers nonsense and repeats the request in it must not bring our keys into
// errors and the log.
func TestCall_BrokenAnswerThatRepeatsTheKeys(t *testing.T) {
	s := jsonrpctest.Start(t, nil)
	c, now := newClient(t, s)
	for what, tt := range map[string]struct{ answer, why string }{
		"a status line":       {"HTTP/1.1 $KEYS\r\n\r\n", "malformed HTTP status"},
		"no status line":      {"$KEYS\r\n\r\n", "malformed HTTP status"},
		"a header line":       {"HTTP/1.1 200 OK\r\n$KEYS\r\n\r\n", "(the answer is not repeated)"},
		"a length":            {"HTTP/1.1 200 OK\r\nContent-Length: $KEYS\r\n\r\n", "Content-Length"},
		"a transfer encoding": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: $KEYS\r\n\r\n", "transfer encoding"},
	} {
		s.Set(func(w http.ResponseWriter, r jsonrpctest.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Errorf("%s: %v", what, err)
				return
			}
			keys := "of " + r.HTTP.Header.Get("X-Api-Key") + " at " + r.HTTP.URL.RequestURI() + ` and "path-key"`
			_, _ = io.WriteString(conn, strings.ReplaceAll(tt.answer, "$KEYS", keys)) // the client may be gone
			_ = conn.Close()
		})
		_, err := call(t, c)
		wantUnavailable(t, what, err, tt.why)
		now.advance(time.Minute) // the breaker lets the next one through
	}
}

func TestCall_NobodyListens(t *testing.T) {
	c, _ := clientOf(t, jsonrpc.Options{Name: "near", URL: "http://" + freeport.Addr() + "/path-key", APIKey: apiKey})
	_, err := call(t, c)
	wantUnavailable(t, "Call", err, "near: the RPC server gave no usable answer")
}

func TestCall_StallingServer(t *testing.T) {
	s := jsonrpctest.Start(t, nil)
	s.Set(s.Stall())
	c, _ := clientOf(t, jsonrpc.Options{Name: "near", URL: s.URL, Timeout: 100 * time.Millisecond})
	_, err := call(t, c)
	wantUnavailable(t, "Call", err, "deadline exceeded")
}

// A connection that went silent is given up in time for another. A machine that stands still for four seconds could make it
// look otherwise, hence the tries.
func TestCall_SilentConnectionIsGivenUp(t *testing.T) {
	s := jsonrpctest.Start(t, nil)
	var got string
	var err error
	for range 5 {
		s.Set(jsonrpctest.InTurn(s.Stall(), jsonrpctest.Result(`1`)))
		c, _ := clientOf(t, jsonrpc.Options{Name: "near", URL: s.URL, Timeout: 8 * time.Second})
		if got, err = call(t, c); err == nil {
			break
		}
	}
	if err != nil || got != "1" {
		t.Errorf("Call = %s, %v, want the answer to the second try", got, err)
	}
}

// A server that is slow holds 16 goroutines, not as many as there are logins.
func TestCall_BurstIsBounded(t *testing.T) {
	const slots, calls = 16, 200
	s := jsonrpctest.Start(t, nil)
	var at, most atomic.Int64
	asked, release := make(chan struct{}, calls), make(chan struct{})
	s.Set(func(w http.ResponseWriter, r jsonrpctest.Request) {
		n := at.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		asked <- struct{}{}
		<-release
		at.Add(-1) // before the answer: the next one may come as soon as the caller has it
		jsonrpctest.Result(`1`)(w, r)
	})
	c, _ := clientOf(t, jsonrpc.Options{Name: "near", URL: s.URL, Timeout: 10 * time.Minute})
	var wg sync.WaitGroup
	for range calls {
		wg.Go(func() {
			if _, err := call(t, c); err != nil {
				t.Error(err)
			}
		})
	}
	for range slots {
		<-asked
	}
	for c.Health().Calls < calls { // until all have begun
		runtime.Gosched()
	}
	for range 1000 { // a seventeenth gets every chance to arrive
		runtime.Gosched()
	}
	close(release)
	wg.Wait()
	if most.Load() != slots {
		t.Errorf("%d requests at once, want %d", most.Load(), slots)
	}
}

// All who call a server that stalls hear of it in time.
func TestCall_BurstAgainstStallingServer(t *testing.T) {
	s := jsonrpctest.Start(t, nil)
	s.Set(s.Stall())
	c, _ := clientOf(t, jsonrpc.Options{Name: "near", URL: s.URL, Timeout: 2 * time.Second})
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if _, err := c.Call(context.Background(), "query", nil); !errors.Is(err, jsonrpc.ErrUnavailable) {
				t.Errorf("Call = %v, want ErrUnavailable", err)
			}
		})
	}
	wg.Wait()
	h := c.Health()
	if h.Calls != 200 || h.Failures+h.Refused != 200 || h.Refused == 0 || h.State == jsonrpc.Closed {
		t.Errorf("Health = %+v, want 200 calls that failed or were refused, and an open breaker", h)
	}
}

func TestCall_ParametersThatCannotBeWritten(t *testing.T) {
	s := jsonrpctest.Start(t, jsonrpctest.Result(`1`))
	c, _ := newClient(t, s)
	if _, err := c.Call(t.Context(), "query", func() {}); err == nil || len(s.Requests()) != 0 {
		t.Errorf("Call = %v, want an error and no request", err)
	}
}

func BenchmarkCall(b *testing.B) {
	s := jsonrpctest.Start(b, jsonrpctest.Result(`{"nonce":85,"permission":"FullAccess","block_height":19884918,"block_hash":"GGJQ8"}`))
	c, _ := newClient(b, s)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := call(b, c); err != nil {
			b.Fatal(err)
		}
	}
}
