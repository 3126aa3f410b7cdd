//go:build mock

package config_test

import "testing"

func TestLoad_MockBuildWarns(t *testing.T) {
	c, warnings := mustLoad(t, readTestdata(t, "reference_shipped.toml"))
	if !c.Development.EnableMockAuth || c.Development.MockAuthHeaderValue.Reveal() != "Bearer shipped-mock-value" {
		t.Errorf("development = %+v, want what the file says", c.Development)
	}
	for _, w := range warnings {
		if w.Key == "development.enable_mock_auth" {
			return
		}
	}
	t.Errorf("warnings = %v, want one about development.enable_mock_auth", warnings)
}
