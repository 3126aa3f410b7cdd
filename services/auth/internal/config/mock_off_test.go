//go:build !mock

package config_test

import (
	"strings"
	"testing"
)

// The reference ships a file that issues tokens to anybody who knows its published header. It must not start.
func TestLoad_ShippedMockAuthRefused(t *testing.T) {
	got := problems(t, readTestdata(t, "reference_shipped.toml"))
	want := "development.enable_mock_auth = true (auth.toml:55): must be false: mock tokens exist only in a build with the tag mock, and this is none"
	if len(got) != 1 || got[0] != want {
		t.Errorf("problems of the shipped file = %q, want %q", got, want)
	}
	if got := problems(t, "", "AUTH_DEVELOPMENT__ENABLE_MOCK_AUTH=true"); len(got) != 1 || !strings.Contains(got[0], "AUTH_DEVELOPMENT__ENABLE_MOCK_AUTH") {
		t.Errorf("problems with AUTH_DEVELOPMENT__ENABLE_MOCK_AUTH = %q, want one", got)
	}
	_, warnings := mustLoad(t, "[development]\nmock_auth_require_header = false\n")
	if len(warnings) != 1 || warnings[0].Message != "has no effect: mock tokens are not in this build" {
		t.Errorf("warnings = %v, want that the setting has no effect", warnings)
	}
}
