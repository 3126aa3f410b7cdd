package cli_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/cli"
)

func TestExplain(t *testing.T) {
	for _, tt := range []struct {
		held, method, target string
		allowed              bool
		requires, grants     []string
		reason               string
	}{
		{"context:list,blob", "GET", "/admin-api/contexts/abc", true, []string{"context:read[abc]"}, []string{"context:list"}, "context:list covers it"},
		{"context:list, blob", "get", "/admin-api/contexts?limit=3", true, []string{"context:list"}, []string{"context:list"}, "covers"},
		{"context:read[abc]", "GET", "/admin-api/contexts/abd", false, []string{"context:read[abd]"}, nil, "nothing that is held"},
		{"", "GET", "/admin-api/contexts", false, []string{"context:list"}, nil, "nothing that is held"},
		{"admin", "DELETE", "/admin-api/contexts/abc", true, []string{"context:delete[abc]"}, []string{"admin"}, "admin covers"},
		{"context[xyz],context", "GET", "/admin-api/contexts/abc", false, []string{"context:read[abc]"}, []string{"context"}, "binding narrows the list to context[xyz]"},
		{"context[abc],context", "GET", "/admin-api/contexts/abc", true, []string{"context:read[abc]"}, []string{"context"}, "context covers"},
		{"context", "GET", "/no/such/route", false, []string{"admin"}, nil, "no such route"},
		{"context", "GET", "/admin-api/../admin-api/contexts", false, nil, nil, "canonical"},
		{"", "GET", "/admin-api/health", true, nil, nil, "public"},
		{"", "GET", "/admin/identity", true, nil, nil, "any valid token"},
		{"keys:list", "GET", "/admin/keys", true, []string{"keys:list"}, []string{"keys:list"}, "covers"},
		{"blob", "GET", "/admin/keys/abc/sessions", false, []string{"keys:list"}, nil, "own key"},
	} {
		code, stdout, stderr := command(t, nil, "explain", "--json", "--held", tt.held, tt.method, tt.target)
		var got struct {
			Allowed          bool
			Requires, Grants []string
			Reason           string
		}
		if err := json.Unmarshal([]byte(stdout), &got); err != nil {
			t.Errorf("%s %s with %q: %v, %s", tt.method, tt.target, tt.held, err, stderr)
			continue
		}
		want := cli.ExitError
		if tt.allowed {
			want = cli.ExitOK
		}
		if code != want || got.Allowed != tt.allowed || !slices.Equal(got.Requires, tt.requires) || !slices.Equal(got.Grants, tt.grants) ||
			!strings.Contains(got.Reason, tt.reason) || stderr != "" {
			t.Errorf("%s %s with %q: exit code %d, %s%s", tt.method, tt.target, tt.held, code, stdout, stderr)
		}
	}
}

func TestExplain_ForPeople(t *testing.T) {
	code, stdout, _ := command(t, nil, "explain", "--held", "context:list,blob,typo:read", "GET", "/admin-api/contexts/abc")
	for _, want := range []string{"GET /admin-api/contexts/{context_id}", "context:read[abc]", "allow: context:list covers it", "typo:read"} {
		if code != cli.ExitOK || !strings.Contains(stdout, want) {
			t.Errorf("exit code %d, no %q in\n%s", code, want, stdout)
		}
	}
	for _, args := range [][]string{{"explain"}, {"explain", "GET"}, {"explain", "GET", "http://node/admin-api/contexts"}, {"explain", "GET", "/a", "extra"}} {
		if code, stdout, stderr := command(t, nil, args...); code != cli.ExitUsage || stdout != "" || stderr == "" {
			t.Errorf("%q: exit code %d, %q, %q; want a mistake in the command line", args, code, stdout, stderr)
		}
	}
}
