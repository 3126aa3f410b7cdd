package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/calimero-network/mero-go/services/auth/internal/bootstrap"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/operate"
)

func (c *command) keysRecover() *cobra.Command {
	var key string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Become administrator again when nobody can log in as one any more",
		Long: `Become administrator again when nobody can log in as one any more.

Prints a one-time secret that is valid for 24 hours. The next login that presents it as
provider_data.bootstrap_secret, with any provider, becomes administrator: an identity without a key gets one, a key
that is live gets all rights. With --key that root key gets them at once, without a login.

It works on the running service (over its control socket, as the same user or root) or on a store that is not in use:
whoever controls the host controls the service.`,
		Example: `  mero-auth keys recover
  mero-auth keys recover --key 5f3c…`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.recover(cmd.Context(), key, asJSON) },
	}
	cmd.Flags().StringVar(&key, "key", "", "`id` of a live root key that becomes administrator")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (c *command) recover(ctx context.Context, key string, asJSON bool) error {
	return c.operate(ctx, func(_ config.Config, o operator, _ bool) error {
		shown, err := o.Recover(ctx, operate.Recovery{Key: key})
		if err != nil {
			return err
		}
		if key != "" {
			shown = bootstrap.Shown{State: bootstrap.Closed}
		}
		switch {
		case asJSON:
			return c.printJSON(shown)
		case key != "":
			c.tell("key %s is an administrator's now; its sessions have the rights at their next refresh", key)
			return nil
		case shown.Secret == "":
			c.tell("no root key exists yet: the first login needs the secret that the configuration sets")
			return nil
		}
		c.tell("the next login with this secret as provider_data.bootstrap_secret becomes administrator (valid until %s)", shown.Expires.Format(time.RFC3339))
		return c.printSecret(shown.Secret)
	})
}
