package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"

	"github.com/labstack/echo/v4"

	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/reqctx"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
)

// panicError carries a recovered panic with its stack to the log. Its text is that of the runtime (an index out of
// range, a nil map) or the type of the value alone: a value may hold what a client sent, and a stack holds none.
type panicError struct {
	what  string
	stack []byte
}

func panicked(value any) error {
	what := fmt.Sprintf("%T", value)
	if err, is := value.(runtime.Error); is {
		what = err.Error()
	}
	return &panicError{what, debug.Stack()}
}

func (p *panicError) Error() string { return "panic: " + p.what + "\n" + string(p.stack) }

// recoverPanic turns a panic of a handler into an error; one bad request must not end the service.
func (s *server) recoverPanic(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler { //nolint:errorlint // net/http panics with this very value
					panic(p)
				}
				s.Metrics.Panicked()
				err = panicked(p)
			}
		}()
		return next(c)
	}
}

// cutKey marks a request whose answer had begun when its handler panicked.
const cutKey = "cut"

// cut handles an error that comes when the answer has begun: nothing can be said to the client any more.
func (s *server) cut(ctx context.Context, err error, c echo.Context) {
	if p, is := err.(*panicError); is { //nolint:errorlint // made by recoverPanic and wrapped by nobody
		s.Log.ErrorContext(ctx, "a handler panicked in the middle of its answer", "error", p.Error())
		c.Set(cutKey, true)
	}
}

// survive answers 500 when a question to the gate, or anything else outside the handlers, panics. Nothing of the
// identity that was found by then leaves with it.
func (s *server) survive(w http.ResponseWriter, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler { //nolint:errorlint // net/http panics with this very value
		panic(p)
	}
	s.Metrics.Panicked()
	ctx := reqctx.WithRequestID(r.Context(), s.requestID(r))
	s.Log.ErrorContext(ctx, "request refused", "status", http.StatusInternalServerError, "error", panicked(p).Error())
	h := w.Header()
	for _, name := range identity.Headers {
		h.Del(name)
	}
	h.Del("Content-Length")
	h["Cache-Control"] = noStore
	s.CORS.Apply(h, r)
	s.writeDenial(w, r, http.StatusInternalServerError, "internal server error", r.URL.RawQuery != "proxy="+string(gate.Nginx))
}
