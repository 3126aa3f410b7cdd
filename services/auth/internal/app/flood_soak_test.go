//go:build soak

package app_test

import (
	"testing"
	"time"
)

// TestFlood_Soak floods with five thousand connections, and challenges and addresses by the hundred thousand.
func TestFlood_Soak(t *testing.T) { flood(t, 5000, 300_000, 200*time.Millisecond) }
