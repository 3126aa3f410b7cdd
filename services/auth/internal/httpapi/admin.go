package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/reqctx"
	"github.com/calimero-network/mero-go/services/auth/internal/keys"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// unixOrNull renders 0 as null: "not revoked", "never expires".
type unixOrNull int64

// MarshalJSON writes the seconds or null.
func (u unixOrNull) MarshalJSON() ([]byte, error) {
	if u == 0 {
		return []byte("null"), nil
	}
	return fmt.Appendf(nil, "%d", int64(u)), nil
}

// OpenAPI describes the JSON form.
func (unixOrNull) OpenAPI() (types []string, text string) {
	return []string{"integer", "null"}, "Unix seconds"
}

// commonBody is what lists and answers tell of every key beyond what the reference did.
type commonBody struct {
	Name       string     `json:"name" doc:"for people"`
	NodeURL    string     `json:"node_url" doc:"the only node that the key may be used at, empty for any"`
	CreatedBy  string     `json:"created_by" doc:"key id of the administrator, empty for the first key and for provisioning"`
	CreatedAt  int64      `json:"created_at" doc:"Unix seconds"`
	RevokedAt  unixOrNull `json:"revoked_at" doc:"Unix seconds, null while the key lives"`
	ExpiresAt  unixOrNull `json:"expires_at" doc:"Unix seconds, null for never"`
	LastUsedAt unixOrNull `json:"last_used_at" doc:"Unix seconds to the minute, null for never"`
	IsValid    bool       `json:"is_valid" doc:"neither revoked nor expired, nor is its root"`
	State      keys.State `json:"state" doc:"live, revoked, expired, root_revoked or root_expired"`
}

type rootBody struct {
	KeyID       string   `json:"key_id" doc:"id of the key, the subject of its tokens"`
	PublicKey   string   `json:"public_key" doc:"what people recognise the identity by"`
	AuthMethod  string   `json:"auth_method" doc:"name of the provider"`
	Permissions []string `json:"permissions" doc:"verbatim, in order"`
	commonBody
}

type clientBody struct {
	ClientID    string   `json:"client_id" doc:"id of the key, the subject of its tokens"`
	RootKeyID   string   `json:"root_key_id" doc:"the root key that it belongs to"`
	MintedBy    string   `json:"minted_by" doc:"the client key whose token made it, empty for a root key"`
	Machine     bool     `json:"machine" doc:"it has one access token and no refresh token"`
	Permissions []string `json:"permissions" doc:"verbatim, in order"`
	commonBody
}

// keyBody renders a key as the list of its type does.
func keyBody(k keys.Listed) any {
	common := commonBody{
		Name: k.Name, NodeURL: k.NodeURL, CreatedBy: k.CreatedBy, CreatedAt: k.CreatedAt, RevokedAt: unixOrNull(k.RevokedAt),
		ExpiresAt: unixOrNull(k.ExpiresAt), LastUsedAt: unixOrNull(k.LastUsed), IsValid: k.State == keys.Live, State: k.State,
	}
	if k.Type == store.Client {
		return clientBody{k.ID, k.RootKeyID, k.MintedBy, k.Machine, k.Permissions, common}
	}
	return rootBody{k.ID, k.PublicKey, k.AuthMethod, k.Permissions, common}
}

func (s *server) listRoots(c echo.Context) error { return s.listKeys(c, store.Root) }

func (s *server) listClients(c echo.Context) error { return s.listKeys(c, store.Client) }

func (s *server) listKeys(c echo.Context, t store.KeyType) error {
	wanted, err := page(c)
	if err != nil {
		return err
	}
	listed, next, err := s.Keys.List(c.Request().Context(), t, wanted)
	if err != nil {
		return err
	}
	out := make([]any, 0, len(listed))
	for _, k := range listed {
		out = append(out, keyBody(k))
	}
	return okPage(c, out, next)
}

type createRootBody struct {
	PublicKey    *string         `json:"public_key" doc:"required; what people recognise the identity by"`
	AuthMethod   *string         `json:"auth_method" doc:"required; name of the provider"`
	ProviderData json.RawMessage `json:"provider_data" schema:"object" doc:"required; a proof of possession as in POST /auth/token, or the account: account_id, or username and password"`
	TargetURL    *string         `json:"target_node_url" doc:"the only node that the key may be used at"`
	Name         *string         `json:"name" doc:"for people"`
	Permissions  []string        `json:"permissions" doc:"permissions of the key, admin if absent; none beyond the own"`
	ExpiresIn    *int64          `json:"expires_in" doc:"life of the key in seconds"`
	Replace      bool            `json:"replace_revoked" doc:"let the name of a password account whose key was revoked pass to a new key"`
}

func (s *server) createRoot(c echo.Context) error {
	var body createRootBody
	if err := s.decode(c, &body); err != nil {
		return err
	}
	method, err := required("auth_method", body.AuthMethod)
	if err != nil {
		return err
	}
	publicKey, err := required("public_key", body.PublicKey)
	if err != nil {
		return err
	}
	if publicKey = plain(publicKey); publicKey == "" {
		return fault.New(fault.Invalid, "Public key cannot be empty after sanitization")
	}
	p := s.Login.Provider(method)
	if p == nil {
		return fault.New(fault.Invalid, "unsupported authentication method")
	}
	if len(body.ProviderData) == 0 {
		return fault.New(fault.Invalid, "Invalid JSON: missing field `provider_data`")
	}
	life, err := expiresIn(body.ExpiresIn)
	if err != nil {
		return err
	}
	created, err := s.Keys.CreateRoot(c.Request().Context(), caller(c), keys.RootRequest{
		Provider:  p,
		Attempt:   provider.Attempt{Method: p.Name(), PublicKey: publicKey, Data: body.ProviderData, UseChallenge: s.Login.UseChallenge},
		TargetURL: orEmpty(body.TargetURL), Name: plain(orEmpty(body.Name)), Permissions: body.Permissions, ExpiresIn: life,
		ReplaceRevoked: body.Replace,
	})
	if err != nil {
		return err
	}
	message := "Key was created"
	if !created {
		message = "Key exists already"
	}
	return ok(c, createdBody{true, message})
}

type createdBody struct {
	Status  bool   `json:"status" doc:"true"`
	Message string `json:"message" doc:"for people"`
}

type createClientBody struct {
	ContextID       *string  `json:"context_id" doc:"bind the key to this context"`
	ContextIdentity *string  `json:"context_identity" doc:"bind it to this identity of the context"`
	Permissions     []string `json:"permissions" doc:"permissions of the key, none beyond the own"`
	TargetURL       *string  `json:"target_node_url" doc:"the only node that the key may be used at"`
	Name            *string  `json:"name" doc:"for people"`
	ExpiresIn       *int64   `json:"expires_in" doc:"make a machine token that lives so many seconds"`
}

// expiresIn reads a life in seconds, 0 if there is none.
func expiresIn(seconds *int64) (time.Duration, error) {
	const most = 1 << 32 // inside a time.Duration
	if seconds == nil {
		return 0, nil
	}
	if *seconds <= 0 || *seconds > most {
		return 0, fault.New(fault.Invalid, "expires_in must be a positive number of seconds")
	}
	return time.Duration(*seconds) * time.Second, nil
}

func (s *server) createClient(c echo.Context) error {
	var body createClientBody
	if err := s.decode(c, &body); err != nil {
		return err
	}
	if orEmpty(body.ContextID) != "" && body.ContextIdentity != nil && *body.ContextIdentity == "" {
		// Without the member any identity of the context is meant; an empty one is more likely a mistake.
		return fault.New(fault.Invalid, "context_identity must not be empty beside context_id")
	}
	life, err := expiresIn(body.ExpiresIn)
	if err != nil {
		return err
	}
	pair, err := s.Keys.CreateClient(c.Request().Context(), caller(c), keys.ClientRequest{
		ContextID: orEmpty(body.ContextID), ContextIdentity: orEmpty(body.ContextIdentity), Permissions: body.Permissions,
		TargetURL: orEmpty(body.TargetURL), Name: plain(orEmpty(body.Name)), ExpiresIn: life, Peer: reqctx.Peer(c.Request().Context()),
	})
	if err != nil {
		return err
	}
	return okPair(c, pair)
}

// revokedBody is the union of what the clients read of a deletion.
type revokedBody struct {
	KeyID     string `json:"key_id" doc:"the key"`
	RevokedAt int64  `json:"revoked_at" doc:"Unix seconds"`
	Status    bool   `json:"status" doc:"true"`
	Success   bool   `json:"success" doc:"true"`
	Message   string `json:"message" doc:"for people"`
}

func (s *server) deleteRoot(c echo.Context) error {
	id := param(c, "key_id")
	at, err := s.Keys.RevokeRoot(c.Request().Context(), caller(c), id)
	if err != nil {
		return lastAdmin(err)
	}
	return ok(c, revokedBody{id, at, true, true, "Key was deleted"})
}

func (s *server) deleteClient(c echo.Context) error {
	id := param(c, "client_id")
	at, err := s.Keys.RevokeClient(c.Request().Context(), caller(c), param(c, "key_id"), id)
	if err != nil {
		return err
	}
	return ok(c, revokedBody{id, at, true, true, "Client key was deleted"})
}

// lastAdmin adds the data that clients read when the last administrator is kept.
func lastAdmin(err error) error {
	if !errors.Is(err, keys.ErrLastAdmin) {
		return err
	}
	return &detailed{err, map[string]any{"status": false, "success": false, "message": fault.MessageOf(err)}}
}

type revokeBody struct {
	ClientID *string `json:"client_id" doc:"the key to revoke; absent or the own for the presented session alone"`
}

func (s *server) revoke(c echo.Context) error {
	var body revokeBody
	given, err := hasBody(c)
	if err != nil {
		return err
	}
	if given {
		if err := s.decode(c, &body); err != nil {
			return err
		}
		switch id := body.ClientID; {
		case id != nil && *id == "":
			return fault.New(fault.Unprocessable, "Validation error: client_id: must not be empty")
		case id != nil && !identity.ValidKeyID(*id):
			return fault.New(fault.Invalid, "Client ID must contain valid characters")
		}
	}
	if err := s.Keys.Revoke(c.Request().Context(), caller(c), orEmpty(body.ClientID)); err != nil {
		return lastAdmin(err)
	}
	return ok(c, doneBody{true, "Tokens revoked successfully"})
}

type doneBody struct {
	Success bool   `json:"success" doc:"true"`
	Message string `json:"message" doc:"for people"`
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
