package route_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/route"
)

func TestCanonical_Accepted(t *testing.T) {
	long := "/" + strings.Repeat("a", route.MaxTarget-1)
	tests := []struct{ target, path, query string }{
		{"/", "/", ""},
		{"/?", "/", ""},
		{"/admin-api/contexts", "/admin-api/contexts", ""},
		{"/admin-api/contexts/", "/admin-api/contexts/", ""},
		{"/admin-api/contexts?limit=1", "/admin-api/contexts", "limit=1"},
		{"/admin-api/contexts??", "/admin-api/contexts", "?"},
		{"/admin-api/contexts?/../x", "/admin-api/contexts", "/../x"},
		{"/ADMIN-API/contexts", "/ADMIN-API/contexts", ""},
		{"/a.b/.well-known/..x/x../...", "/a.b/.well-known/..x/x../...", ""},
		{"/:/@x:y!$&'()*+,=~_-", "/:/@x:y!$&'()*+,=~_-", ""},
		{"/ws?token=a.b-c_d&x=%zz%00", "/ws", "token=a.b-c_d&x=%zz%00"},
		{"/ws?token[]=a|b\\c^`{}\"<>;//", "/ws", "token[]=a|b\\c^`{}\"<>;//"},
		{long, long, ""},
	}
	for _, tt := range tests {
		p, q, err := route.Canonical(tt.target)
		if p != tt.path || q != tt.query || err != nil {
			t.Errorf("Canonical(%.60q) = %.60q, %q, %v, want %.60q, %q", tt.target, p, q, err, tt.path, tt.query)
		}
	}
}

func TestCanonical_Refused(t *testing.T) {
	tests := []struct {
		target string
		want   error
	}{
		{"", route.ErrEmpty},
		{"/" + strings.Repeat("a", route.MaxTarget), route.ErrTooLong},
		{"/x?" + strings.Repeat("a", route.MaxTarget), route.ErrTooLong},
		{"*", route.ErrForm},
		{"admin-api/contexts", route.ErrForm},
		{"http://node.example/admin-api/contexts", route.ErrForm},
		{"node.example:443", route.ErrForm},
		{"?/admin-api/contexts", route.ErrForm},
		{"\\admin-api", route.ErrForm},
		{" /admin-api", route.ErrForm},
		{"//", route.ErrEmptySegment},
		{"//evil.example/admin-api/contexts", route.ErrEmptySegment},
		{"/admin-api//contexts", route.ErrEmptySegment},
		{"/admin-api/contexts//", route.ErrEmptySegment},
		{"/.", route.ErrDotSegment},
		{"/..", route.ErrDotSegment},
		{"/./x", route.ErrDotSegment},
		{"/a/../b", route.ErrDotSegment},
		{"/a/b/..", route.ErrDotSegment},
		{"/a/./", route.ErrDotSegment},
		{"/a/..?x", route.ErrDotSegment},
		{"/a;x=y", route.ErrParameter},
		{"/a/..;/b", route.ErrParameter},
		{"/a\\b", route.ErrBackslash},
		{"/a\\..\\b", route.ErrBackslash},
		{"/a#b", route.ErrFragment},
		{"/a?x#b", route.ErrFragment},
		{"/a#?token=b", route.ErrFragment},
		{"/%63ontexts", route.ErrEscape},
		{"/a%2fb", route.ErrEscape},
		{"/a%2Fb", route.ErrEscape},
		{"/a%5Cb", route.ErrEscape},
		{"/%2e%2e/b", route.ErrEscape},
		{"/.%2e/b", route.ErrEscape},
		{"/a%00", route.ErrEscape},
		{"/a%0d%0aX-Auth-Key:%20evil", route.ErrEscape},
		{"/a%20b", route.ErrEscape},
		{"/a%252e", route.ErrEscape},
		{"/a%3f", route.ErrEscape},
		{"/a%23", route.ErrEscape},
		{"/%C3%A9", route.ErrEscape},
		{"/%c0%ae%c0%ae/b", route.ErrEscape},
		{"/%ff", route.ErrEscape},
		{"/a%2b", route.ErrEscape},
		{"/a%", route.ErrBadEscape},
		{"/a%2", route.ErrBadEscape},
		{"/a%zz", route.ErrBadEscape},
		{"/a%u002f", route.ErrBadEscape},
		{"/a%%32%65", route.ErrBadEscape},
		{"/a\x00b", route.ErrByte},
		{"/a\tb", route.ErrByte},
		{"/a b", route.ErrByte},
		{"/a HTTP/1.1", route.ErrByte},
		{"/a\r\nX-Auth-Key: evil", route.ErrByte},
		{"/a\x7f", route.ErrByte},
		{"/é", route.ErrByte},
		{"/\xff", route.ErrByte},
		{"/a\u202eb", route.ErrByte},
		{"/[c1,c2]", route.ErrByte},
		{"/x|\"<>^{}`", route.ErrByte},
		{"/admin-api/applications, /admin-api/contexts", route.ErrByte},
		{"/ws?x=é", route.ErrByte},
		{"/ws?x=a b", route.ErrByte},
		{"/ws?x=\x00", route.ErrByte},
		{"/ws?x=\r\n", route.ErrByte},
		{"/ws?x=\x7f", route.ErrByte},
	}
	for _, tt := range tests {
		p, q, err := route.Canonical(tt.target)
		if !errors.Is(err, tt.want) || !errors.Is(err, route.ErrTarget) {
			t.Errorf("Canonical(%.60q) = %v, want %v", tt.target, err, tt.want)
		}
		if p != "" || q != "" {
			t.Errorf("Canonical(%.60q) returns %q, %q beside an error", tt.target, p, q)
		}
	}
}

// Every byte is judged: what is not listed here as part of a path is refused, at each position.
func TestCanonical_EveryByte(t *testing.T) {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:@!$&'()*+,=/?"
	for c := range 256 {
		for _, target := range []string{"/x" + string([]byte{byte(c)}) + "y", "/xy" + string([]byte{byte(c)})} {
			_, _, err := route.Canonical(target)
			if want := strings.IndexByte(allowed, byte(c)) >= 0; (err == nil) != want {
				t.Errorf("Canonical(%q) = %v, want accepted = %v", target, err, want)
			}
		}
	}
}

// checkOneReading fails unless every reader that could stand in front of or behind the gate takes the target
// for the same path.
func checkOneReading(t *testing.T, target, got, query string) {
	t.Helper()
	rest, marked := strings.CutPrefix(target, got)
	if !marked || rest != "" && rest != "?"+query {
		t.Fatalf("Canonical(%q) = %q, %q, which do not make up the target", target, got, query)
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		t.Fatalf("net/url refuses %q: %v", target, err)
	}
	if u.Path != got || u.Host != "" || u.Fragment != "" || u.RawQuery != query {
		t.Fatalf("net/url reads %q as host %q, path %q, query %q, fragment %q; we as %q, %q",
			target, u.Host, u.Path, u.RawQuery, u.Fragment, got, query)
	}
	if esc := u.EscapedPath(); esc != got {
		t.Fatalf("net/url writes the path %q as %q", got, esc)
	}
	decoded, err := url.PathUnescape(got)
	if err != nil {
		t.Fatalf("the path %q holds a bad escape: %v", got, err)
	}
	for _, p := range []string{path.Clean(got), path.Clean(decoded), path.Clean(strings.ReplaceAll(decoded, "\\", "/"))} {
		if strings.HasSuffix(got, "/") && p != "/" {
			p += "/"
		}
		if p != got {
			t.Fatalf("cleaning %q gives %q", got, p)
		}
	}
	if cut, _, found := strings.Cut(got, ";"); found {
		t.Fatalf("without path parameters %q is %q", got, cut)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != got {
			t.Errorf("ServeMux serves %q for %q", r.URL.Path, got)
		}
		w.WriteHeader(http.StatusTeapot)
	})
	rec := httptest.NewRecorder()
	mux.ServeHTTP(rec, &http.Request{Method: http.MethodGet, URL: u, RequestURI: target, Host: "node.example"})
	if rec.Code != http.StatusTeapot {
		t.Fatalf("ServeMux answers %d to %q (Location %q)", rec.Code, target, rec.Header().Get("Location"))
	}
}

func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{
		"/", "/admin-api/contexts?limit=1", "/a/../b", "/%2e%2e/b", "//x", "/a;b", "/a\\b", "/a#b", "/a?b#c",
		"/:/x", "/@a:b!$&'()*+,=", "http://h/x", "*", "/a%", "/a%zz", "/ws?x=%zz", "/é", "/a/", "/a/.", "/...",
		"/[::1]", "/a?[]|", "/a:b", "/?", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		p, query, err := route.Canonical(target)
		if err != nil {
			if !errors.Is(err, route.ErrTarget) {
				t.Fatalf("Canonical(%q) = %v, which is not an ErrTarget", target, err)
			}
			return
		}
		checkOneReading(t, target, p, query)
		if again, _, err := route.Canonical(p); err != nil || again != p {
			t.Fatalf("Canonical of its own result %q = %q, %v", p, again, err)
		}
	})
}

func BenchmarkCanonical(b *testing.B) {
	for name, target := range map[string]string{
		"short": "/admin-api/contexts/9wXk3Wb8vZJ1p7uE2xRrT4nQkq6LhYdC5mNsAaBbCcDd?limit=50",
		"8KiB":  "/ws?token=" + strings.Repeat("a", route.MaxTarget-10),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := route.Canonical(target); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
