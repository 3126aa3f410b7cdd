package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
)

var update = flag.Bool("update", false, "write the golden files again")

// recorded is one question to the gate as a real proxy sent it; see testdata/transcripts/README.md.
type recorded struct {
	ID      string   `json:"id"`
	Config  string   `json:"config"`
	Method  string   `json:"method"`
	Target  string   `json:"target"`
	Headers []string `json:"headers"`
}

func readRecorded(t *testing.T, proxy string) []recorded {
	t.Helper()
	f, err := os.Open("testdata/transcripts/" + proxy + ".jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // only read
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var all []recorded
	for dec := json.NewDecoder(z); ; {
		var r recorded
		err := dec.Decode(&r)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
}

// bytes returns the question as it went over the wire, with token in place of the recording's good one.
func (r *recorded) bytes(token string) []byte {
	var b bytes.Buffer
	line := func(s string) {
		for _, c := range s {
			b.WriteByte(byte(c)) // each code point stands for the byte of the same number
		}
		b.WriteString("\r\n")
	}
	line(r.Method + " " + r.Target + " HTTP/1.1")
	for _, h := range r.Headers {
		line(strings.ReplaceAll(h, "good-token", token))
	}
	line("")
	return b.Bytes()
}

// header returns the values of the header lines with exactly this name in any case, as sent.
func (r *recorded) header(name string) []string {
	var values []string
	for _, h := range r.Headers {
		if n, v, found := strings.Cut(h, ":"); found && strings.EqualFold(n, name) {
			values = append(values, strings.Trim(v, " \t"))
		}
	}
	return values
}

// asked returns method and target of the original request in the family that the question is pinned to.
func (r *recorded) asked() (method, target string) {
	family := "X-Forwarded-"
	if strings.HasSuffix(r.Target, "=nginx") {
		family = "X-Original-"
	}
	return strings.Join(r.header(family+"Method"), "|"), strings.Join(r.header(family+"Uri"), "|")
}

// credentials is a way to fill in the recording's good token.
type credentials struct {
	name        string
	token       authtest.Token // zero: as recorded
	permissions string
}

// TestRecordedQuestions replays what five proxies really sent. Whatever a client made a proxy send: no wrong 200,
// and no identity other than the token's.
func TestRecordedQuestions(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	ways := []credentials{
		{name: "as recorded"},
		{name: "administrator", token: root, permissions: "admin"},
		{name: "application:list", token: s.Client(t, root, "application:list"), permissions: "application:list"},
	}
	var golden strings.Builder
	for _, proxy := range []string{"nginx", "traefik", "caddy-2.6", "caddy-2.11", "haproxy"} {
		counts := make(map[int]int)
		for _, r := range readRecorded(t, proxy) {
			fmt.Fprint(&golden, proxy, " ", r.Config, " ", r.ID)
			for i, way := range ways {
				token := way.token.Access
				if i == 0 {
					token = "good-token"
				}
				got := s.Exchange(t, "", r.Method, r.bytes(token))
				r.check(t, s, proxy+" "+way.name, way, got)
				if i == 1 {
					counts[got.Status]++
				}
				fmt.Fprint(&golden, " ", strconv.Itoa(got.Status))
				if got.Reason() != "" {
					fmt.Fprint(&golden, "/", got.Reason())
				}
			}
			fmt.Fprintln(&golden)
		}
		for _, status := range []int{200, 401, 403} {
			if counts[status] == 0 {
				t.Errorf("%s: no %d among the answers to a good token: %v", proxy, status, counts)
			}
		}
		t.Logf("%s with a good token: %v", proxy, counts)
	}
	compareGolden(t, "testdata/transcripts/outcomes.txt", golden.String())
}

// check holds an answer against what must be true of every answer, whatever was asked.
func (r *recorded) check(t *testing.T, s *authtest.Service, way string, c credentials, got authtest.Answer) {
	t.Helper()
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s, %s %s: %s; answer %v", way, r.Config, r.ID, fmt.Sprintf(format, args...), got)
	}
	method, target := r.asked()
	target = strings.ReplaceAll(target, "good-token", c.token.Access)
	switch got.Status {
	case 401, 403:
		for _, name := range identity.Headers {
			if len(got.Header.Values(name)) > 0 {
				fail("a refusal carries %s", name)
			}
		}
		return
	case 200:
	default:
		fail("status %d, want 200, 401 or 403", got.Status)
		return
	}
	found := got.Identity(t)
	known := c.token.Key != "" && strings.Contains(strings.Join(r.Headers, "\n"), "good-token")
	open := publicByHand(method, target)
	preflight := method == "OPTIONS" && len(r.header("Origin")) == 1 && len(r.header("Access-Control-Request-Method")) == 1
	switch {
	case !canonicalByHand(target):
		fail("allowed a target that is not canonical: %q", target)
	case !open && !preflight && !known:
		fail("allowed %s %q without a good token", method, target)
	}
	want := map[string]string{identity.HeaderKey: "", identity.HeaderUser: "", identity.HeaderPermissions: "", identity.HeaderExpires: ""}
	if found[identity.HeaderKey] != "" {
		want = map[string]string{
			identity.HeaderKey: c.token.Key, identity.HeaderUser: c.token.Key,
			identity.HeaderPermissions: c.permissions, identity.HeaderExpires: strconv.FormatInt(c.token.Expires, 10),
		}
	}
	for name, value := range want {
		if found[name] != value {
			fail("%s is %q, want %q", name, found[name], value)
		}
	}
	if open || preflight {
		if found[identity.HeaderAssertion] != "" {
			fail("an assertion where the node asks for none")
		}
		return
	}
	if found[identity.HeaderKey] == "" {
		fail("allowed without an identity")
	}
	if err := s.VerifyAssertion(got, method, target); err != nil {
		fail("assertion for %s %q: %v", method, target, err)
	}
}

// publicByHand knows the public routes of the node without asking the product's table.
func publicByHand(method, target string) bool {
	path, _, _ := strings.Cut(target, "?")
	return (method == "GET" || method == "HEAD") && canonicalByHand(target) &&
		(strings.HasPrefix(path, "/admin-dashboard/") || slices.Contains([]string{
			"/", "/favicon.ico", "/admin-dashboard", "/admin-api/health", "/admin-api/ready", "/admin-api/is-authed", "/admin-api/certificate",
		}, path))
}

// canonicalByHand reports whether a target has one reading, without asking the product's check.
func canonicalByHand(target string) bool {
	path, query, _ := strings.Cut(target, "?")
	if !strings.HasPrefix(path, "/") || strings.Contains(path, "//") || strings.ContainsAny(query, " #\\\x00\x7f") {
		return false
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	for _, c := range path {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:@!$&'()*+,=/", c) {
			return false
		}
	}
	return true
}

// compareGolden compares got with the committed file, or writes it with -update.
func compareGolden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(string(raw), "\n")
	lines := strings.Split(got, "\n")
	if len(lines) != len(want) {
		t.Errorf("%s has %d lines, the answers make %d", path, len(want), len(lines))
	}
	for i := range min(len(lines), len(want)) {
		if lines[i] != want[i] {
			t.Errorf("%s line %d:\n got %s\nwant %s", path, i+1, lines[i], want[i])
		}
	}
}
