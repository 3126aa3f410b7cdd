package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/calimero-network/mero-go/services/auth/internal/client"
)

func (c *command) keysCommand() *cobra.Command {
	group := &cobra.Command{Use: "keys", Short: "List, add and delete keys, change their permissions and passwords", Args: cobra.ArbitraryArgs, RunE: needsCommand}
	var r remote
	for _, cmd := range []*cobra.Command{c.keysList(&r), c.keysCreate(&r), c.keysDelete(&r), c.keysPermissions(&r), c.keysSetPassword(&r)} {
		r.register(cmd.Flags())
		group.AddCommand(cmd)
	}
	group.AddCommand(c.keysRecover()) // on the host, past the API
	return group
}

// key is a root or client key as the service lists it.
type key struct {
	KeyID       string   `json:"key_id"`
	ClientID    string   `json:"client_id"`
	RootKeyID   string   `json:"root_key_id"`
	AuthMethod  string   `json:"auth_method"`
	PublicKey   string   `json:"public_key"`
	Name        string   `json:"name"`
	Permissions []string `json:"permissions"`
	CreatedAt   int64    `json:"created_at"`
	RevokedAt   *int64   `json:"revoked_at"`
	ExpiresAt   *int64   `json:"expires_at"`
	LastUsedAt  *int64   `json:"last_used_at"`
	IsValid     bool     `json:"is_valid"`
	State       string   `json:"state"`
}

// state says in words why a key cannot be used, or that it can. The service decides: it knows the root and the time.
func (k key) state() string { return strings.ReplaceAll(k.State, "_", " ") }

func (c *command) keysList(r *remote) *cobra.Command {
	var clients, all bool
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the root keys, or with --clients the client keys", Args: noArgs,
		Example: `  mero-auth keys list
  mero-auth keys list --clients --all --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path := "/admin/keys"
			if clients {
				path = "/admin/keys/clients"
			}
			return c.listKeys(cmd.Context(), r, path, clients, all)
		},
	}
	cmd.Flags().BoolVar(&clients, "clients", false, "list client keys")
	cmd.Flags().BoolVar(&all, "all", false, "also list keys that are revoked or expired, or whose root key is")
	return cmd
}

func (c *command) listKeys(ctx context.Context, r *remote, path string, clients, all bool) error {
	cl, err := c.connect(r)
	if err != nil {
		return err
	}
	var raw []json.RawMessage
	if err := cl.Call(ctx, http.MethodGet, path, nil, &raw); err != nil {
		return err
	}
	kept, rows := make([]json.RawMessage, 0, len(raw)), make([][]string, 0, len(raw))
	for _, text := range raw {
		var k key
		if err := json.Unmarshal(text, &k); err != nil {
			return fmt.Errorf("the list of keys: %w", err)
		}
		if !all && !k.IsValid {
			continue
		}
		kept = append(kept, text)
		row := []string{k.KeyID, k.AuthMethod, k.PublicKey}
		if clients {
			row = []string{k.ClientID, k.RootKeyID, k.Name}
		}
		rows = append(rows, append(row, k.state(), clock(&k.CreatedAt), clock(k.ExpiresAt), clock(k.LastUsedAt), strings.Join(k.Permissions, ",")))
	}
	if r.json {
		return c.printJSON(kept)
	}
	header := []string{"KEY", "METHOD", "IDENTITY"}
	if clients {
		header = []string{"CLIENT KEY", "ROOT KEY", "NAME"}
	}
	return printTable(c.Stdout, append(header, "STATE", "CREATED", "EXPIRES", "LAST USED", "PERMISSIONS"), rows)
}

// newKey holds the flags of keys create.
type newKey struct {
	method, account, user, passwordFile, dataFile, target string
	replace                                               bool
}

func (c *command) keysCreate(r *remote) *cobra.Command {
	var f newKey
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Add a root key: a user with a password, or a wallet by its account",
		Example: `  mero-auth keys create --user bob --password-file pw
  mero-auth keys create --method near_wallet --account bob.near
  mero-auth keys create --method eth_wallet --account 0x52908400098527886E0F7030069857D2E4169EE7`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.createKey(cmd.Context(), r, &f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.method, "method", "user_password", "the `provider` of the identity")
	flags.StringVar(&f.account, "account", "", "the wallet's `account` or address")
	flags.StringVar(&f.user, "user", "", "user `name`, for passwords")
	flags.StringVar(&f.passwordFile, "password-file", "", "`file` with the new user's password (- for stdin)")
	flags.StringVar(&f.dataFile, "data-file", "", "`file` with the provider_data as JSON (- for stdin), for a proof of possession")
	flags.StringVar(&f.target, "node", "", "`URL` of the only node that the key may be used at")
	flags.BoolVar(&f.replace, "replace-revoked", false, "give the user a new key although the one of that name was revoked")
	return cmd
}

func (c *command) createKey(ctx context.Context, r *remote, f *newKey) error {
	cl, err := c.connect(r)
	if err != nil {
		return err
	}
	var data map[string]any
	account := f.account
	if account != "" {
		data = map[string]any{"account_id": account}
	} else {
		login := loginFlags{method: f.method, user: f.user, passwordFile: f.passwordFile, dataFile: f.dataFile}
		if data, account, err = c.providerData(&login); err != nil {
			return err
		}
	}
	body := map[string]any{"auth_method": f.method, "public_key": account, "provider_data": data}
	if f.target != "" {
		body["target_node_url"] = f.target
	}
	if f.replace {
		body["replace_revoked"] = true
	}
	return c.change(ctx, cl, r, http.MethodPost, "/admin/keys", body)
}

// change makes a call and prints the message of its answer.
func (c *command) change(ctx context.Context, cl *client.Client, r *remote, method, path string, body any) error {
	var raw json.RawMessage
	if err := cl.Call(ctx, method, path, body, &raw); err != nil {
		return err
	}
	if r.json {
		return c.printJSON(raw)
	}
	var answer struct {
		Message string `json:"message"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil || answer.Message == "" {
		answer.Message = "done"
	}
	c.tell("%s", onOneLine(answer.Message))
	return nil
}

func (c *command) keysDelete(r *remote) *cobra.Command {
	var yes bool
	var root string
	cmd := &cobra.Command{
		Use: "delete KEY", Aliases: []string{"revoke", "rm"},
		Short: "Revoke a key, its sessions and, for a root key, its client keys, for ever",
		Example: `  mero-auth keys delete 3f1c… --yes
  mero-auth keys delete CLIENT --of ROOT --yes`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/admin/keys/" + url.PathEscape(args[0])
			if root != "" {
				path = "/admin/keys/" + url.PathEscape(root) + "/clients/" + url.PathEscape(args[0])
			}
			cl, err := c.connect(r)
			if err != nil {
				return err
			}
			if err := c.confirm(yes, "Revoke the key "+onOneLine(args[0])+" at "+cl.Server()+"?"); err != nil {
				return err
			}
			return c.change(cmd.Context(), cl, r, http.MethodDelete, path, nil)
		},
	}
	cmd.Flags().StringVar(&root, "of", "", "the key is a client key of this root `key`")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (c *command) keysSetPassword(r *remote) *cobra.Command {
	var passwordFile string
	cmd := &cobra.Command{
		Use:   "set-password KEY",
		Short: "Set the password of a root key that has one, and end its sessions",
		Long: `Set the password of a root key that has one, and end its sessions.

For people who have forgotten theirs. The password comes from a file, from stdin or from the terminal. Whoever knows the old
one changes it at the login (new_password).`,
		Example: `  mero-auth keys set-password 3f1c…
  mero-auth keys set-password 3f1c… --password-file pw`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.connect(r)
			if err != nil {
				return err
			}
			password, err := c.secretFor("new password", "password-file", passwordFile)
			if err != nil {
				return err
			}
			var raw json.RawMessage
			path := "/admin/keys/" + url.PathEscape(args[0])
			if err := cl.Call(cmd.Context(), http.MethodPatch, path, map[string]string{"password": password}, &raw); err != nil {
				return err
			}
			if r.json {
				return c.printJSON(raw)
			}
			c.tell("the password is set; the sessions of the key are ended")
			return nil
		},
	}
	cmd.Flags().StringVar(&passwordFile, "password-file", "", "`file` with the new password (- for stdin)")
	return cmd
}

func (c *command) keysPermissions(r *remote) *cobra.Command {
	var add, remove []string
	cmd := &cobra.Command{
		Use:   "permissions KEY",
		Short: "Print the permissions of a key, or change them with --add and --remove",
		Long: `Print the permissions of a key, or change them with --add and --remove.

What is removed is refused from the next request on. What is added comes into tokens at their next refresh.`,
		Example: `  mero-auth keys permissions 3f1c…
  mero-auth keys permissions 3f1c… --remove admin --add context:list --add 'context:execute[ctx-1]'`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.connect(r)
			if err != nil {
				return err
			}
			path := "/admin/keys/" + url.PathEscape(args[0]) + "/permissions"
			method, body := http.MethodGet, any(nil)
			if len(add)+len(remove) > 0 {
				method, body = http.MethodPut, map[string]any{"add": add, "remove": remove}
			}
			var answer struct {
				Permissions []string `json:"permissions"`
			}
			if err := cl.Call(cmd.Context(), method, path, body, &answer); err != nil {
				return err
			}
			if r.json {
				return c.printJSON(answer)
			}
			rows := make([][]string, 0, len(answer.Permissions))
			for _, p := range answer.Permissions {
				rows = append(rows, []string{p})
			}
			return printTable(c.Stdout, nil, rows)
		},
	}
	// Arrays, not slices: the permission language uses the comma.
	cmd.Flags().StringArrayVar(&add, "add", []string{}, "`permission` to add, may be repeated")
	cmd.Flags().StringArrayVar(&remove, "remove", []string{}, "`permission` to remove, may be repeated")
	return cmd
}

func (c *command) clientKeyCommand() *cobra.Command {
	group := &cobra.Command{
		Use: "client-key", Short: "Make keys with fewer permissions: for apps, and for machines", Args: cobra.ArbitraryArgs, RunE: needsCommand,
	}
	r := remoteFlags(group)
	group.AddCommand(c.clientKeyCreate(r))
	return group
}

// newClientKey holds the flags of client-key create.
type newClientKey struct {
	permissions                     []string
	context, identity, name, target string
	expires                         string
}

func (c *command) clientKeyCreate(r *remote) *cobra.Command {
	var f newClientKey
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a client key and print its tokens",
		Long: `Make a client key and print its tokens.

With --expires-in it is a machine token: one access token that lives as long as the key, and nothing to refresh.
The tokens are printed once and stored nowhere.`,
		Example: `  mero-auth client-key create --name backup --expires-in 90d --permission blob:list --permission blob:get
  mero-auth client-key create --context ctx-1 --identity pk-1 --permission 'context:execute[ctx-1]' --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.createClientKey(cmd.Context(), r, &f) },
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.permissions, "permission", "p", []string{}, "`permission` to grant, may be repeated; none beyond your own")
	flags.StringVar(&f.context, "context", "", "bind the key to this `context`")
	flags.StringVar(&f.identity, "identity", "", "bind the key to this `identity` of the context")
	flags.StringVar(&f.name, "name", "", "`name` of the key in lists")
	flags.StringVar(&f.target, "node", "", "`URL` of the only node that the key may be used at")
	flags.StringVar(&f.expires, "expires-in", "", "make a machine token that lives so `long`: 90d, 12h, 30m or seconds")
	return cmd
}

func (c *command) createClientKey(ctx context.Context, r *remote, f *newClientKey) error {
	body := map[string]any{"permissions": f.permissions}
	for name, value := range map[string]string{"context_id": f.context, "context_identity": f.identity, "name": f.name, "target_node_url": f.target} {
		if value != "" {
			body[name] = value
		}
	}
	if f.expires != "" {
		life, err := parseLife(f.expires)
		if err != nil {
			return &usageError{err}
		}
		body["expires_in"] = int64(life / time.Second)
	}
	cl, err := c.connect(r)
	if err != nil {
		return err
	}
	var pair client.Pair
	if err := cl.Call(ctx, http.MethodPost, "/admin/client-key", body, &pair); err != nil {
		return err
	}
	if r.json {
		return c.printJSON(pair)
	}
	// Only the token goes to stdout, so that TOKEN=$(mero-auth client-key create …) works.
	if _, err := fmt.Fprintln(c.Stdout, pair.Access); err != nil {
		return err
	}
	if pair.Refresh != "" {
		c.tell("this is the access token; --json prints the refresh token, too")
	}
	return nil
}

// maxLife is more than the service grants; it keeps the number inside a time.Duration.
const maxLife = 100 * 366 * 24 * time.Hour

// parseLife reads a duration, in which d stands for days, or a number of seconds.
func parseLife(text string) (time.Duration, error) {
	unit := time.Second
	number, isDays := strings.CutSuffix(text, "d")
	if isDays {
		unit = 24 * time.Hour
	}
	if n, err := strconv.ParseUint(number, 10, 32); err == nil && n > 0 && time.Duration(n) <= maxLife/unit {
		return time.Duration(n) * unit, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= time.Second && d <= maxLife {
		return d, nil
	}
	return 0, fmt.Errorf("%q is no duration such as 90d, 12h, 30m or 3600", text)
}
