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

type rootBody struct {
	KeyID       string     `json:"key_id"`
	PublicKey   string     `json:"public_key"`
	AuthMethod  string     `json:"auth_method"`
	CreatedAt   int64      `json:"created_at"`
	RevokedAt   unixOrNull `json:"revoked_at"`
	Permissions []string   `json:"permissions"`
}

func (s *server) listRoots(c echo.Context) error {
	listed, err := s.Keys.List(c.Request().Context(), store.Root)
	if err != nil {
		return err
	}
	out := make([]rootBody, 0, len(listed))
	for _, k := range listed {
		out = append(out, rootBody{k.ID, k.PublicKey, k.AuthMethod, k.CreatedAt, unixOrNull(k.RevokedAt), k.Permissions})
	}
	return ok(c, out)
}

type clientBody struct {
	ClientID    string     `json:"client_id"`
	RootKeyID   string     `json:"root_key_id"`
	Name        string     `json:"name"`
	Permissions []string   `json:"permissions"`
	CreatedAt   int64      `json:"created_at"`
	RevokedAt   unixOrNull `json:"revoked_at"`
	ExpiresAt   unixOrNull `json:"expires_at"`
	IsValid     bool       `json:"is_valid"`
}

func (s *server) listClients(c echo.Context) error {
	listed, err := s.Keys.List(c.Request().Context(), store.Client)
	if err != nil {
		return err
	}
	out := make([]clientBody, 0, len(listed))
	for _, k := range listed {
		out = append(out, clientBody{
			ClientID: k.ID, RootKeyID: k.RootKeyID, Name: k.Name, Permissions: k.Permissions, CreatedAt: k.CreatedAt,
			RevokedAt: unixOrNull(k.RevokedAt), ExpiresAt: unixOrNull(k.ExpiresAt), IsValid: k.Valid,
		})
	}
	return ok(c, out)
}

type createRootBody struct {
	PublicKey    *string         `json:"public_key"`
	AuthMethod   *string         `json:"auth_method"`
	ProviderData json.RawMessage `json:"provider_data"`
	TargetURL    *string         `json:"target_node_url"`
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
	created, err := s.Keys.CreateRoot(c.Request().Context(), caller(c), keys.RootRequest{
		Provider: p, Attempt: provider.Attempt{PublicKey: publicKey, Data: body.ProviderData}, TargetURL: orEmpty(body.TargetURL),
	})
	if err != nil {
		return err
	}
	message := "Key was created"
	if !created {
		message = "Key exists already"
	}
	return ok(c, map[string]any{"status": true, "message": message})
}

type createClientBody struct {
	ContextID       *string  `json:"context_id"`
	ContextIdentity *string  `json:"context_identity"`
	Permissions     []string `json:"permissions"`
	TargetURL       *string  `json:"target_node_url"`
	Name            *string  `json:"name"`
	ExpiresIn       *int64   `json:"expires_in"`
}

// maxSeconds keeps a number of seconds inside a time.Duration.
const maxSeconds = 1 << 32

func (s *server) createClient(c echo.Context) error {
	var body createClientBody
	if err := s.decode(c, &body); err != nil {
		return err
	}
	if orEmpty(body.ContextID) != "" && body.ContextIdentity != nil && *body.ContextIdentity == "" {
		// Without the member any identity of the context is meant; an empty one is more likely a mistake.
		return fault.New(fault.Invalid, "context_identity must not be empty beside context_id")
	}
	request := keys.ClientRequest{
		ContextID: orEmpty(body.ContextID), ContextIdentity: orEmpty(body.ContextIdentity), Permissions: body.Permissions,
		TargetURL: orEmpty(body.TargetURL), Name: plain(orEmpty(body.Name)), Peer: reqctx.Peer(c.Request().Context()),
	}
	if body.ExpiresIn != nil {
		if *body.ExpiresIn <= 0 || *body.ExpiresIn > maxSeconds {
			return fault.New(fault.Invalid, "expires_in must be a positive number of seconds")
		}
		request.ExpiresIn = time.Duration(*body.ExpiresIn) * time.Second
	}
	pair, err := s.Keys.CreateClient(c.Request().Context(), caller(c), request)
	if err != nil {
		return err
	}
	return okPair(c, pair)
}

// revokedBody is the union of what the clients read of a deletion.
type revokedBody struct {
	KeyID     string `json:"key_id"`
	RevokedAt int64  `json:"revoked_at"`
	Status    bool   `json:"status"`
	Success   bool   `json:"success"`
	Message   string `json:"message"`
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
	return &detailed{err, map[string]any{"status": false, "success": false, "message": keys.ErrLastAdmin.Message}}
}

type revokeBody struct {
	ClientID *string `json:"client_id"`
}

func (s *server) revoke(c echo.Context) error {
	var body revokeBody
	if optionalBody(c) {
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
	return ok(c, map[string]any{"success": true, "message": "Tokens revoked successfully"})
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
