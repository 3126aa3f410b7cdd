//go:build soak

package main_test

import "testing"

// TestKilledNode_Soak kills the node at random points of at least 500 executions.
func TestKilledNode_Soak(t *testing.T) { killExecutions(t, 100, 5) }
