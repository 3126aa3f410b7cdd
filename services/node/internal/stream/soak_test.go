//go:build soak

package stream_test

import "testing"

// TestManySubscribers_Soak executes for longer beside 1 000 WebSockets, 1 000 SSE streams and one that does not read.
func TestManySubscribers_Soak(t *testing.T) { executeBesideCrowd(t, 100) }
