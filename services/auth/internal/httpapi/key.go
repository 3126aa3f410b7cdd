package httpapi

import (
	"bytes"
	"encoding/json"

	"github.com/labstack/echo/v4"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/reqctx"
	"github.com/calimero-network/mero-go/services/auth/internal/keys"
	"github.com/calimero-network/mero-go/services/auth/internal/limit"
)

type permissionsBody struct {
	Permissions []string `json:"permissions" doc:"verbatim, in order"`
}

func (s *server) getPermissions(c echo.Context) error {
	list, err := s.Keys.Permissions(c.Request().Context(), param(c, "key_id"))
	if err != nil {
		return err
	}
	return ok(c, permissionsBody{list})
}

type changePermissionsBody struct {
	Add    []string `json:"add" doc:"added after the removal"`
	Remove []string `json:"remove" doc:"removed first"`
}

func (s *server) changePermissions(c echo.Context) error {
	var body changePermissionsBody
	if err := s.decodeChange(c, &body, "add", "remove"); err != nil {
		return err
	}
	list, err := s.Keys.ChangePermissions(c.Request().Context(), caller(c), param(c, "key_id"), keys.Change(body))
	if err != nil {
		return lastAdmin(err)
	}
	return ok(c, permissionsBody{list})
}

// updateKeyBody tells a member that is absent, and so stays as it is, from null.
type updateKeyBody struct {
	Name      json.RawMessage `json:"name" schema:"string,null" doc:"a text, or null for none"`
	ExpiresAt json.RawMessage `json:"expires_at" schema:"integer,null" doc:"Unix seconds, or null for never"`
	Password  json.RawMessage `json:"password" schema:"string" doc:"a new password for the key's account; all sessions of the key end"`
}

func (b updateKeyBody) update() (u keys.Update, err error) {
	null := []byte("null")
	if b.Name != nil {
		u.Name = new(string)
		if err := json.Unmarshal(b.Name, u.Name); err != nil {
			return u, fault.Wrap(err, fault.Invalid, "name must be a text or null")
		}
		*u.Name = plain(*u.Name)
	}
	if b.ExpiresAt != nil {
		u.ExpiresAt = new(int64)
		if err := json.Unmarshal(b.ExpiresAt, u.ExpiresAt); err != nil || (*u.ExpiresAt <= 0 && !bytes.Equal(b.ExpiresAt, null)) {
			return u, fault.Wrap(err, fault.Invalid, "expires_at must be a time in Unix seconds, or null for never")
		}
	}
	if b.Password != nil {
		u.Password = new(string)
		if err := json.Unmarshal(b.Password, u.Password); err != nil || bytes.Equal(b.Password, null) {
			return u, fault.New(fault.Invalid, "password must be a text")
		}
	}
	return u, nil
}

func (s *server) updateKey(c echo.Context) error {
	var body updateKeyBody
	if err := s.decodeChange(c, &body, "name", "expires_at", "password"); err != nil {
		return err
	}
	update, err := body.update()
	if err != nil {
		return err
	}
	if update.Password != nil { // costs what a login costs
		if err := s.Limits.Take(limit.Login, reqctx.Peer(c.Request().Context())); err != nil {
			return limited(err)
		}
	}
	k, err := s.Keys.Change(c.Request().Context(), caller(c), param(c, "key_id"), update)
	if err != nil {
		return lastAdmin(err)
	}
	return ok(c, keyBody(k))
}
