package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/calimero-network/mero-go/services/auth/internal/client"
)

func (c *command) sessionsCommand() *cobra.Command {
	group := &cobra.Command{Use: "sessions", Short: "List the sessions of a key, end one", Args: cobra.ArbitraryArgs, RunE: needsCommand}
	r := remoteFlags(group)
	group.AddCommand(c.sessionsList(r), c.sessionsEnd(r))
	return group
}

// sessionRow is what the table shows of a session.
type sessionRow struct {
	Family      string `json:"family"`
	CreatedAt   int64  `json:"created_at"`
	LastRefresh *int64 `json:"last_refresh"`
	ExpiresAt   int64  `json:"expires_at"`
	ClientName  string `json:"client_name"`
	Peer        string `json:"peer"`
	Machine     bool   `json:"machine"`
	Current     bool   `json:"current"`
}

func (s sessionRow) mark() string {
	switch {
	case s.Current:
		return "this one"
	case s.Machine:
		return "machine"
	}
	return "-"
}

func (c *command) sessionsList(r *remote) *cobra.Command {
	return &cobra.Command{
		Use: "list [KEY]", Aliases: []string{"ls"}, Short: "List the sessions of a key, without KEY of your own",
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.connect(r)
			if err != nil {
				return err
			}
			key, err := keyOf(cl, args)
			if err != nil {
				return err
			}
			var raw []json.RawMessage
			if err := cl.Call(cmd.Context(), http.MethodGet, "/admin/keys/"+url.PathEscape(key)+"/sessions", nil, &raw); err != nil {
				return err
			}
			if r.json {
				return c.printJSON(raw)
			}
			rows := make([][]string, 0, len(raw))
			for _, text := range raw {
				var s sessionRow
				if err := json.Unmarshal(text, &s); err != nil {
					return fmt.Errorf("the list of sessions: %w", err)
				}
				rows = append(rows, []string{s.Family, orDash(s.ClientName), orDash(s.Peer), clock(&s.CreatedAt), clock(s.LastRefresh), clock(&s.ExpiresAt), s.mark()})
			}
			return printTable(c.Stdout, []string{"SESSION", "CLIENT", "ADDRESS", "CREATED", "REFRESHED", "EXPIRES", ""}, rows)
		},
	}
}

func (c *command) sessionsEnd(r *remote) *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use: "end SESSION", Aliases: []string{"delete", "rm"}, Short: "End a session: its tokens are refused from the next request on",
		Example: `  mero-auth sessions end FAMILY
  mero-auth sessions end FAMILY --of KEY`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.connect(r)
			if err != nil {
				return err
			}
			of := []string{}
			if key != "" {
				of = append(of, key)
			}
			owner, err := keyOf(cl, of)
			if err != nil {
				return err
			}
			return c.change(cmd.Context(), cl, r, http.MethodDelete, "/admin/keys/"+url.PathEscape(owner)+"/sessions/"+url.PathEscape(args[0]), nil)
		},
	}
	cmd.Flags().StringVar(&key, "of", "", "the session belongs to this `key`, not to your own")
	return cmd
}

// keyOf returns the key that was named, or the caller's own, which the token tells.
func keyOf(cl *client.Client, named []string) (string, error) {
	if len(named) > 0 {
		return named[0], nil
	}
	if cl.Session().Access == "" {
		return "", client.ErrNoSession
	}
	_, claims, err := takeApart(cl.Session().Access)
	if err != nil {
		return "", err
	}
	key, is := claims["sub"].(string)
	if !is || key == "" {
		return "", errors.New("the token names no key: name it")
	}
	return key, nil
}
