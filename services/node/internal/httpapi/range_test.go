package httpapi_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/httpapi"
)

// FuzzRange asks for ranges of a short content. Whatever the header says, the answer is the whole, one part that is what
// Content-Range says, or a refusal.
func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-0", "bytes=-5", "bytes=-0", "bytes=5-", "bytes=9-3", "bytes=0-1,3-4", "bytes=-", "bytes=", "items=0-1", "bytes=0-99999999999999999999", "bytes= 1 - 2 ", "bytes=--1", "bytes=+1-2", "bytes=-00"} {
		f.Add(s, uint8(10))
		f.Add(s, uint8(0))
	}
	f.Fuzz(func(t *testing.T, header string, size uint8) {
		content := make([]byte, size)
		for i := range content {
			content[i] = byte(i)
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Range"] = []string{header}
		w := httptest.NewRecorder()
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("ETag", `"x"`)
		http.ServeContent(w, httpapi.OneRange(r, int64(size)), "", time.Time{}, bytes.NewReader(content))
		body := w.Body.Bytes()
		switch w.Code {
		case http.StatusOK:
			if !bytes.Equal(body, content) {
				t.Errorf("%q: 200 with %d of %d bytes", header, len(body), size)
			}
		case http.StatusPartialContent:
			var first, last, total int
			if _, err := fmt.Sscanf(w.Header().Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &total); err != nil {
				t.Fatalf("%q: Content-Range %q, Content-Type %q", header, w.Header().Get("Content-Range"), w.Header().Get("Content-Type"))
			}
			if total != int(size) || first > last || last >= total || !bytes.Equal(body, content[first:last+1]) {
				t.Errorf("%q: %q with %d bytes", header, w.Header().Get("Content-Range"), len(body))
			}
		case http.StatusRequestedRangeNotSatisfiable:
		default:
			t.Errorf("%q: %d", header, w.Code)
		}
	})
}
