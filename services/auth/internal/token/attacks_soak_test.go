//go:build soak

package token_test

import (
	"testing"
	"time"
)

// TestAttackCorpus_Soak adds what a busy machine could break by luck: 99 in 100 refusals come within 50 ms.
func TestAttackCorpus_Soak(t *testing.T) { attackOverHTTP(t, 50*time.Millisecond) }
