package cors_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/cors"
)

const app = "https://app.example"

func newRules(t testing.TB, p cors.Policy) *cors.Rules {
	t.Helper()
	r, err := cors.New(p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// request makes a request with header lines "Name: value".
func request(method string, lines ...string) *http.Request {
	r := httptest.NewRequest(method, "/admin-api/contexts", nil)
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		r.Header.Add(name, value)
	}
	return r
}

// lines writes headers as sorted "Name: value" lines.
func lines(h http.Header) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			out = append(out, name+": "+v)
		}
	}
	return out
}

const exposed = "Access-Control-Expose-Headers: X-Auth-Error, X-Auth-Key, X-Auth-User, X-Auth-Permissions, X-Auth-Expires, Retry-After, X-Request-Id"

func TestApply(t *testing.T) {
	list := cors.Policy{Origins: []string{app, "http://localhost:5173", "tauri://localhost"}}
	tests := []struct {
		name   string
		policy cors.Policy
		origin string
		want   []string
	}{
		{"all", cors.Policy{AllowAll: true}, app, []string{"Access-Control-Allow-Origin: *", exposed}},
		{"all, without an origin", cors.Policy{AllowAll: true}, "", []string{"Access-Control-Allow-Origin: *", exposed}},
		{"all, null", cors.Policy{AllowAll: true}, "null", []string{"Access-Control-Allow-Origin: *", exposed}},
		{"all wins over the list", cors.Policy{AllowAll: true, Origins: []string{app}}, app, []string{"Access-Control-Allow-Origin: *", exposed}},
		{"listed", list, app, []string{
			"Access-Control-Allow-Credentials: true", "Access-Control-Allow-Origin: " + app, exposed, "Vary: Origin",
		}},
		{"listed with port", list, "http://localhost:5173", []string{
			"Access-Control-Allow-Credentials: true", "Access-Control-Allow-Origin: http://localhost:5173", exposed, "Vary: Origin",
		}},
		{"listed with another scheme", list, "tauri://localhost", []string{
			"Access-Control-Allow-Credentials: true", "Access-Control-Allow-Origin: tauri://localhost", exposed, "Vary: Origin",
		}},
		{"not listed", list, "https://evil.example", []string{"Vary: Origin"}},
		{"list, without an origin", list, "", []string{"Vary: Origin"}},
		{"same origin only", cors.Policy{}, app, nil},
		{"more headers", cors.Policy{AllowAll: true, Expose: []string{"ETag", "retry-after", "X-Blob-ID"}}, app, []string{
			"Access-Control-Allow-Origin: *", exposed + ", ETag, X-Blob-ID",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := request("GET")
			if tt.origin != "" {
				req.Header.Set("Origin", tt.origin)
			}
			h := http.Header{}
			newRules(t, tt.policy).Apply(h, req)
			if got := lines(h); !slices.Equal(got, tt.want) {
				t.Errorf("Apply for origin %q:\n got %q\nwant %q", tt.origin, got, tt.want)
			}
		})
	}
}

func TestApply_OriginReflectionAttack(t *testing.T) {
	rules := newRules(t, cors.Policy{Origins: []string{app, "http://localhost:5173"}})
	for _, origin := range []string{
		"null", "NULL", "*", "https://", "https://app.example.evil.test", "https://evil-app.example",
		"https://evilapp.example", "https://sub.app.example", "https://app.example.", "https://app.examplf",
		"https://app.example:443", "https://app.example:8443", "https://app.example:", "http://app.example",
		"HTTPS://APP.EXAMPLE", "https://App.example", "https://app.example/", "https://app.example/path",
		"https://user@app.example", "https://app.example@evil.test", "https://app.example%00.evil.test",
		"https://app.example\x00", "https://app_example", "https://app.example, https://evil.test",
		"https://app.example https://evil.test", " https://app.example", "https://app.example ", "//app.example",
		"app.example", "file://", "http://localhost", "http://localhost:5174", "http://localhost:51730",
		"http://127.0.0.1:5173", "https://localhost:5173", "https://app。example",
	} {
		h := http.Header{}
		req := request("GET")
		req.Header["Origin"] = []string{origin}
		rules.Apply(h, req)
		if got := lines(h); !slices.Equal(got, []string{"Vary: Origin"}) {
			t.Errorf("Apply for origin %q = %q, want nothing but Vary", origin, got)
		}
	}
	twice := http.Header{}
	rules.Apply(twice, request("GET", "Origin: "+app, "Origin: https://evil.example"))
	if got := twice.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("Apply for two origins allows %q", got)
	}
}

func TestNeverAnyOriginWithCredentials(t *testing.T) {
	for _, p := range []cors.Policy{
		{AllowAll: true},
		{AllowAll: true, Origins: []string{app}},
		{Origins: []string{app}},
		{},
	} {
		rules := newRules(t, p)
		for _, req := range []*http.Request{
			request("GET", "Origin: "+app),
			request("GET", "Origin: null"),
			request("OPTIONS", "Origin: "+app, "Access-Control-Request-Method: GET"),
		} {
			rec := httptest.NewRecorder()
			rules.Apply(rec.Header(), req)
			rules.Preflight(rec, req)
			if rec.Header().Get("Access-Control-Allow-Origin") == "*" && rec.Header().Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("policy %+v answers %s with * and credentials", p, req.Method)
			}
		}
	}
}

func TestApply_Vary(t *testing.T) {
	rules := newRules(t, cors.Policy{Origins: []string{app}})
	tests := []struct {
		before, want []string
	}{
		{nil, []string{"Origin"}},
		{[]string{"Accept"}, []string{"Accept", "Origin"}},
		{[]string{"Origin"}, []string{"Origin"}},
		{[]string{"Accept, origin"}, []string{"Accept, origin"}},
		{[]string{"Accept", "Origin"}, []string{"Accept", "Origin"}},
		{[]string{"*"}, []string{"*"}},
		{[]string{"X-Origin"}, []string{"X-Origin", "Origin"}},
	}
	for _, tt := range tests {
		h := http.Header{}
		if tt.before != nil {
			h["Vary"] = slices.Clone(tt.before)
		}
		rules.Apply(h, request("GET", "Origin: "+app))
		if !slices.Equal(h["Vary"], tt.want) {
			t.Errorf("Vary %q becomes %q, want %q", tt.before, h["Vary"], tt.want)
		}
	}
}

// Answers share header values; changing one answer must not change the next.
func TestApply_AnswersAreIndependent(t *testing.T) {
	rules := newRules(t, cors.Policy{Origins: []string{app}})
	first, second := http.Header{}, http.Header{}
	rules.Apply(first, request("GET", "Origin: "+app))
	for name := range first {
		first.Add(name, "changed")
	}
	rules.Apply(second, request("GET", "Origin: "+app))
	want := []string{
		"Access-Control-Allow-Credentials: true", "Access-Control-Allow-Origin: " + app, exposed, "Vary: Origin",
	}
	if got := lines(second); !slices.Equal(got, want) {
		t.Errorf("the second answer is %q, want %q", got, want)
	}
}

func TestPreflight(t *testing.T) {
	const (
		methods = "Access-Control-Allow-Methods: GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS"
		headers = "Access-Control-Allow-Headers: Authorization, Content-Type, Last-Event-ID, X-Request-Id"
		age     = "Access-Control-Max-Age: 600"
		exposed = "Access-Control-Expose-Headers: X-Auth-Error, X-Auth-Key, X-Auth-User, X-Auth-Permissions, X-Auth-Expires, Retry-After, X-Request-Id"
		private = "Access-Control-Allow-Private-Network: true"
		wanted  = "Access-Control-Request-Method: DELETE"
		network = "Access-Control-Request-Private-Network: true"
	)
	all, list := cors.Policy{AllowAll: true}, cors.Policy{Origins: []string{app}}
	tests := []struct {
		name   string
		policy cors.Policy
		lines  []string
		want   []string
	}{
		{"all", all, []string{"Origin: " + app, wanted}, []string{headers, methods, "Access-Control-Allow-Origin: *", age, exposed}},
		{"all, private network", all, []string{"Origin: " + app, wanted, network}, []string{
			headers, methods, "Access-Control-Allow-Origin: *", private, age, exposed,
		}},
		{"private network not asked for", all, []string{"Origin: " + app, wanted, "Access-Control-Request-Private-Network: false"}, []string{
			headers, methods, "Access-Control-Allow-Origin: *", age, exposed,
		}},
		{"listed", list, []string{"Origin: " + app, wanted, network}, []string{
			"Access-Control-Allow-Credentials: true", headers, methods, "Access-Control-Allow-Origin: " + app, private, age, exposed, "Vary: Origin",
		}},
		{"not listed", list, []string{"Origin: https://evil.example", wanted, network}, []string{"Vary: Origin"}},
		{"same origin only", cors.Policy{}, []string{"Origin: " + app, wanted, network}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rec := httptest.NewRecorder()
			if !newRules(t, tt.policy).Preflight(rec, request("OPTIONS", tt.lines...)) {
				t.Fatal("Preflight = false")
			}
			slices.Sort(tt.want)
			if got := lines(rec.Header()); rec.Code != http.StatusNoContent || !slices.Equal(got, tt.want) {
				t.Errorf("Preflight:\n got %d %q\nwant 204 %q", rec.Code, got, tt.want)
			}
			if rec.Body.Len() > 0 {
				t.Errorf("the answer has a body: %q", rec.Body)
			}
		})
	}
}

func TestPreflight_NotOne(t *testing.T) {
	const wanted = "Access-Control-Request-Method: GET"
	rules := newRules(t, cors.Policy{AllowAll: true})
	for name, req := range map[string]*http.Request{
		"no origin":          request("OPTIONS", wanted),
		"no method asked":    request("OPTIONS", "Origin: "+app),
		"empty origin":       request("OPTIONS", "Origin: ", wanted),
		"empty method":       request("OPTIONS", "Origin: "+app, "Access-Control-Request-Method: "),
		"two origins":        request("OPTIONS", "Origin: "+app, "Origin: "+app, wanted),
		"two methods":        request("OPTIONS", "Origin: "+app, wanted, wanted),
		"another method":     request("GET", "Origin: "+app, wanted),
		"lower case options": request("options", "Origin: "+app, wanted),
	} {
		t.Run(name, func(t *testing.T) {
			rec := httptest.NewRecorder()
			if rules.Preflight(rec, req) || len(rec.Header()) > 0 {
				t.Errorf("Preflight answered: %q", lines(rec.Header()))
			}
		})
	}
}

func TestParseOrigin(t *testing.T) {
	for text, want := range map[string]string{
		"https://app.example":                 "https://app.example",
		"HTTPS://App.Example":                 "https://app.example",
		"https://app.example:443":             "https://app.example",
		"http://app.example:80":               "http://app.example",
		"http://app.example:443":              "http://app.example:443",
		"http://localhost:5173":               "http://localhost:5173",
		"http://127.0.0.1:3000":               "http://127.0.0.1:3000",
		"http://[::1]:3000":                   "http://[::1]:3000",
		"https://[2001:DB8::1]":               "https://[2001:db8::1]",
		"https://xn--bcher-kva.example":       "https://xn--bcher-kva.example",
		"tauri://localhost":                   "tauri://localhost",
		"chrome-extension://abcdefghijklmnop": "chrome-extension://abcdefghijklmnop",
	} {
		if got, err := cors.ParseOrigin(text); got != want || err != nil {
			t.Errorf("ParseOrigin(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "*", "null", "app.example", "//app.example", "https://", "https:app.example", "://app.example",
		"https://app.example/", "https://app.example/x", "https://app.example?x", "https://app.example#x",
		"https://user@app.example", "https://user:pw@app.example", "https://*.app.example", "https://*",
		"https://app.example:", "https://app.example:0", "https://app.example:65536", "https://app.example:080",
		"https://app.example:+80", "https://app.example:x", "https://app example", " https://app.example",
		"https://app.example ", "https://app.example\n", "https://bücher.example", "https://app.example,https://b.example",
		"https://[::1", "https://::1", "https://[::1]x", "https://[fe80::1%25eth0]", "https://[0:0::1]", "https://[1.2.3.4]",
		"https://[::ffff:1.2.3.4]", "1http://app.example", "ht tp://app.example", "https://" + strings.Repeat("a", 254),
	} {
		if got, err := cors.ParseOrigin(text); err == nil {
			t.Errorf("ParseOrigin(%q) = %q, want an error", text, got)
		}
	}
}

func TestNew_ReportsEveryProblem(t *testing.T) {
	_, err := cors.New(cors.Policy{Origins: []string{app, "https://a/b", "*"}, Expose: []string{"X-Ok", "X Bad", ""}})
	if err == nil {
		t.Fatal("New = nil error")
	}
	for _, want := range []string{`"https://a/b"`, `"*"`, `"X Bad"`, `""`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("New = %v, want it to name %s", err, want)
		}
	}
}

// What ParseOrigin returns is an origin that it returns unchanged.
func FuzzParseOrigin(f *testing.F) {
	for _, seed := range []string{
		app, "HTTP://LOCALHOST:80", "https://[::1]:1", "tauri://localhost", "https://a/b", "null", "*", "https://a:b@c", "a://b:00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		origin, err := cors.ParseOrigin(text)
		if err != nil {
			return
		}
		if again, err := cors.ParseOrigin(origin); again != origin || err != nil {
			t.Fatalf("ParseOrigin(%q) = %q, and of that %q, %v", text, origin, again, err)
		}
		if strings.ContainsAny(strings.SplitN(origin, "://", 2)[1], "/?#@*, \\%") {
			t.Fatalf("ParseOrigin(%q) = %q", text, origin)
		}
	})
}

func TestApply_DoesNotAllocate(t *testing.T) {
	for name, p := range map[string]cors.Policy{"all": {AllowAll: true}, "list": {Origins: []string{app}}} {
		rules, req := newRules(t, p), request("GET", "Origin: "+app)
		h := make(http.Header, 16)
		if n := testing.AllocsPerRun(1000, func() {
			clear(h)
			rules.Apply(h, req)
		}); n != 0 {
			t.Errorf("%s: Apply allocates %v times, want 0", name, n)
		}
	}
}

func BenchmarkApply(b *testing.B) {
	rules, req := newRules(b, cors.Policy{Origins: []string{app}}), request("GET", "Origin: "+app)
	h := make(http.Header, 16)
	b.ReportAllocs()
	for b.Loop() {
		clear(h)
		rules.Apply(h, req)
	}
}
