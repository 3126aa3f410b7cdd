package application

import "github.com/calimero-network/mero-go/services/node/internal/id"

// BundleID returns the id of an application that came as a bundle.
func BundleID(pkg, signerID string) (id.ID, error) { return bundleID(pkg, signerID) }

// ModuleID returns the id of an application that came as a bare module.
func ModuleID(blob id.ID, size int64, source string, metadata []byte) (id.ID, error) {
	return moduleID(blob, size, source, metadata)
}
