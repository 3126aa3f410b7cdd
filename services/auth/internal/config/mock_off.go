//go:build !mock

package config

// mockBuild says that this build contains the mock token endpoint.
const mockBuild = false
