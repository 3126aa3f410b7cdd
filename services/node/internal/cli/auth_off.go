//go:build noembed

package cli

import "github.com/spf13/cobra"

// authCommand is not part of this build.
func (p Process) authCommand(*place) *cobra.Command { return nil }
