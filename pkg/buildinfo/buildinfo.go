// Package buildinfo carries the version that the build stamped into the binary.
package buildinfo

// Version and Commit are set with -ldflags "-X github.com/calimero-network/mero-go/pkg/buildinfo.Version=…".
var (
	Version = "0.0.0-dev"
	Commit  = "unknown"
)

// String returns "version (commit)".
func String() string { return Version + " (" + Commit + ")" }
