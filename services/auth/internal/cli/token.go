package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/auth/internal/client"
)

func (c *command) tokenCommand() *cobra.Command {
	group := &cobra.Command{
		Use: "token", Short: "Log in, look at a token, end a session", Args: cobra.ArbitraryArgs, RunE: needsCommand,
		Long: `Log in, look at a token, end a session.

The session is kept in mero-auth/sessions.json (0600) in your configuration directory, one per server, and refreshed
when its access token has expired. Scripts set MERO_AUTH_TOKEN (a machine token, see mero-auth client-key create)
and keep nothing.`,
	}
	r := remoteFlags(group)
	group.AddCommand(c.tokenLogin(r), c.tokenInspect(r), c.tokenValidate(r), c.tokenPrint(r), c.tokenRevoke(r))
	return group
}

// loginFlags are the flags of token login.
type loginFlags struct {
	method, user, passwordFile, dataFile, bootstrapFile, name string
}

func (c *command) tokenLogin(r *remote) *cobra.Command {
	var f loginFlags
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Log in and keep the session",
		Long: `Log in and keep the session.

With a password the command asks for it at the terminal or reads it from a file. With a wallet, sign the challenge
(GET /auth/challenge?method=…) yourself and pass the provider's data as JSON.`,
		Example: `  mero-auth token login --user alice
  mero-auth token login --user alice --password-file pw --bootstrap-secret-file /var/lib/mero/auth/bootstrap.secret
  mero-auth token login --method eth_wallet --data-file signed.json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.login(cmd.Context(), r, &f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.method, "method", "user_password", "the `provider` to log in with")
	flags.StringVar(&f.user, "user", "", "user `name`, for passwords")
	flags.StringVar(&f.passwordFile, "password-file", "", "`file` with the password (- for stdin)")
	flags.StringVar(&f.dataFile, "data-file", "", "`file` with the provider_data as JSON (- for stdin), for wallets")
	flags.StringVar(&f.bootstrapFile, "bootstrap-secret-file", "", "`file` with the one-time secret of the first login")
	flags.StringVar(&f.name, "name", "", "`name` of the session in the list of sessions; default mero-auth on this host")
	return cmd
}

func (c *command) login(ctx context.Context, r *remote, f *loginFlags) error {
	cl, err := c.connect(r)
	if err != nil {
		return err
	}
	data, account, err := c.providerData(f)
	if err != nil {
		return err
	}
	if f.bootstrapFile != "" {
		secret, err := c.secretFrom(f.bootstrapFile)
		if err != nil {
			return err
		}
		data["bootstrap_secret"] = secret
	}
	if f.name == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "an unnamed host"
		}
		f.name = "mero-auth on " + host
	}
	body := map[string]any{
		"auth_method": f.method, "public_key": account, "client_name": f.name, "timestamp": 0, "provider_data": data,
	}
	var pair client.Pair
	if err := cl.Open(ctx, http.MethodPost, "/auth/token", body, &pair); err != nil {
		return err
	}
	if err := cl.Keep(pair); err != nil {
		return err
	}
	if r.json {
		return c.printJSON(map[string]any{"server": cl.Server(), "logged_in": true})
	}
	c.tell("logged in at %s", cl.Server())
	return nil
}

// providerData returns what proves the identity, and the name that the identity is known by.
func (c *command) providerData(f *loginFlags) (data map[string]any, account string, err error) {
	if f.dataFile != "" {
		text, err := c.secretFrom(f.dataFile)
		if err != nil {
			return nil, "", err
		}
		if err := json.Unmarshal([]byte(text), &data); err != nil || data == nil {
			return nil, "", fmt.Errorf("%s: the provider's data must be a JSON object", f.dataFile)
		}
		for _, name := range []string{"wallet_address", "username", "account_id"} {
			if value, is := data[name].(string); is && value != "" {
				return data, value, nil
			}
		}
		return data, f.method, nil
	}
	if f.method != "user_password" && f.method != "username_password" {
		return nil, "", &usageError{fmt.Errorf("--method %s needs --data-file with the signed challenge", f.method)}
	}
	if f.user == "" {
		return nil, "", &usageError{errors.New("--user is needed")}
	}
	password, err := c.secretFor("password", "password-file", f.passwordFile)
	if err != nil {
		return nil, "", err
	}
	return map[string]any{"username": f.user, "password": password}, f.user, nil
}

func (c *command) tokenInspect(r *remote) *cobra.Command {
	var refresh bool
	cmd := &cobra.Command{
		Use:   "inspect",
		Short: "Print what the token says, without asking anybody and without checking its signature",
		Example: `  mero-auth token inspect
  mero-auth token inspect --token-file -`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			cl, err := c.connect(r)
			if err != nil {
				return err
			}
			text := cl.Session().Access
			if refresh {
				text = cl.Session().Refresh
			}
			if text == "" {
				return client.ErrNoSession
			}
			header, claims, err := takeApart(text)
			if err != nil {
				return err
			}
			if r.json {
				return c.printJSON(map[string]any{"header": header, "claims": claims, "signature_checked": false})
			}
			if err := printTable(c.Stdout, nil, claimRows(header, claims)); err != nil {
				return err
			}
			c.tell("the signature was not checked; mero-auth token validate asks the service")
			return nil
		},
	}
	cmd.Flags().BoolVar(&refresh, "refresh", false, "look at the refresh token of the session")
	return cmd
}

// takeApart decodes a JWS in compact form (RFC 7515 section 7.1).
func takeApart(text string) (header, claims map[string]any, err error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, nil, errors.New("this is no token: it does not have three parts")
	}
	for i, into := range []*map[string]any{&header, &claims} {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			return nil, nil, errors.New("this is no token: part of it is not base64url")
		}
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		if err := decoder.Decode(into); err != nil || *into == nil {
			return nil, nil, errors.New("this is no token: part of it is not a JSON object")
		}
	}
	return header, claims, nil
}

func claimRows(header, claims map[string]any) [][]string {
	var rows [][]string
	for _, part := range []map[string]any{header, claims} {
		names := make([]string, 0, len(part))
		for name := range part {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			rows = append(rows, []string{name, claimText(name, part[name])})
		}
	}
	return rows
}

func claimText(name string, value any) string {
	switch v := value.(type) {
	case string:
		return v
	case json.Number:
		if seconds, err := v.Int64(); err == nil && (name == "exp" || name == "iat" || name == "nbf") {
			return v.String() + "  " + time.Unix(seconds, 0).UTC().Format(time.RFC3339)
		}
		return v.String()
	case []any:
		texts := make([]string, 0, len(v))
		for _, item := range v {
			texts = append(texts, claimText("", item))
		}
		return strings.Join(texts, ", ")
	}
	text, err := json.Marshal(value)
	if err != nil {
		return "?"
	}
	return string(text)
}

// validity is what the service says of a token.
type validity struct {
	Valid       bool     `json:"valid"`
	Key         string   `json:"key_id,omitempty"`
	Permissions []string `json:"permissions,omitempty"`
	Expires     int64    `json:"expires,omitempty"`
	Reason      string   `json:"reason,omitempty"`
}

func (c *command) tokenValidate(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:   "validate",
		Short: "Ask the service whether the token is valid, and what it allows; exit code 1 says that it is not",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.connect(r)
			if err != nil {
				return err
			}
			h, err := cl.Validate(cmd.Context())
			refused, isRefusal := errors.AsType[*client.Error](err)
			if err != nil && (!isRefusal || refused.Status >= http.StatusInternalServerError) {
				return err
			}
			v := validity{Valid: err == nil}
			if isRefusal {
				v.Reason = refused.Reason
			} else {
				v.Key, v.Permissions = h.Get(identity.HeaderUser), permission.Split(h.Get(identity.HeaderPermissions))
				v.Expires, _ = strconv.ParseInt(h.Get(identity.HeaderExpires), 10, 64) // 0: the service did not say
			}
			if err := c.printValidity(r, v); err != nil || v.Valid {
				return err
			}
			return exit(ExitError)
		},
	}
}

func (c *command) printValidity(r *remote, v validity) error {
	if r.json {
		return c.printJSON(v)
	}
	if !v.Valid {
		return printTable(c.Stdout, nil, [][]string{{"valid", "no: " + orDash(v.Reason)}})
	}
	return printTable(c.Stdout, nil, [][]string{
		{"valid", "yes"}, {"key", v.Key}, {"permissions", orDash(strings.Join(v.Permissions, ", "))}, {"expires", clock(&v.Expires)},
	})
}

func (c *command) tokenPrint(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:     "print",
		Short:   "Print the access token of the session, refreshed if it has expired, for other programs",
		Example: `  curl -H "Authorization: Bearer $(mero-auth token print)" http://127.0.0.1:8080/admin-api/contexts`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.connect(r)
			if err != nil {
				return err
			}
			// Any route that takes every token brings the session up to date.
			if err := cl.Call(cmd.Context(), http.MethodGet, "/admin/identity", nil, nil); err != nil {
				return err
			}
			if r.json {
				return c.printJSON(map[string]string{"access_token": cl.Session().Access})
			}
			_, err = fmt.Fprintln(c.Stdout, cl.Session().Access)
			return err
		},
	}
}

func (c *command) tokenRevoke(r *remote) *cobra.Command {
	return &cobra.Command{
		Use: "revoke", Aliases: []string{"logout"}, Short: "End the session at the service and forget it", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.connect(r)
			if err != nil {
				return err
			}
			err = cl.Call(cmd.Context(), http.MethodPost, "/admin/revoke", map[string]any{}, nil)
			over := overAlready(err)
			if err != nil && !over {
				return err
			}
			if err := cl.Forget(); err != nil {
				return err
			}
			if r.json {
				return c.printJSON(map[string]bool{"revoked": true, "was_over": over})
			}
			if over {
				c.tell("the session was over already and is forgotten")
				return nil
			}
			c.tell("the session has ended")
			return nil
		},
	}
}

// overAlready reports whether a revocation was refused because there is nothing left to revoke. A token that was given from
// outside and is not known at all is more likely a mistake.
func overAlready(err error) bool {
	if errors.Is(err, client.ErrEnded) {
		return true
	}
	refused, is := errors.AsType[*client.Error](err)
	return is && (refused.Reason == identity.TokenRevoked || refused.Reason == identity.TokenExpired)
}
