package httpapi

import "github.com/labstack/echo/v4"

type sessionBody struct {
	Family      string     `json:"family" doc:"id of the session"`
	KeyID       string     `json:"key_id" doc:"the key"`
	CreatedAt   int64      `json:"created_at" doc:"Unix seconds"`
	LastRefresh unixOrNull `json:"last_refresh" doc:"Unix seconds, null for never"`
	LastUsedAt  int64      `json:"last_used_at" doc:"Unix seconds to the minute"`
	ExpiresAt   int64      `json:"expires_at" doc:"when the session ends without a refresh, Unix seconds"`
	IdleEnd     unixOrNull `json:"idle_expires_at" doc:"when it ends without a use, null without an idle time-out"`
	ClientName  string     `json:"client_name" doc:"what the client called itself"`
	NodeURL     string     `json:"node_url" doc:"the node that its tokens are bound to, empty for any"`
	Peer        string     `json:"peer" doc:"network of the client"`
	Machine     bool       `json:"machine" doc:"a machine token"`
	Current     bool       `json:"current" doc:"the session of the token that asks"` // the session of the token that asks
}

func (s *server) listSessions(c echo.Context) error {
	wanted, err := page(c)
	if err != nil {
		return err
	}
	listed, next, err := s.Keys.Sessions(c.Request().Context(), caller(c), param(c, "key_id"), wanted)
	if err != nil {
		return err
	}
	out := make([]sessionBody, 0, len(listed))
	for _, f := range listed {
		out = append(out, sessionBody{
			Family: f.ID, KeyID: f.Key, CreatedAt: f.Created, LastRefresh: unixOrNull(f.LastRefresh), LastUsedAt: f.LastUsed,
			ExpiresAt: f.Expires, IdleEnd: unixOrNull(f.IdleEnd), ClientName: f.ClientName, NodeURL: f.Current.NodeURL,
			Peer: f.Peer, Machine: f.Machine, Current: f.Own,
		})
	}
	return okPage(c, out, next)
}

type endedBody struct {
	Family    string `json:"family" doc:"id of the session"`
	RevokedAt int64  `json:"revoked_at" doc:"Unix seconds"`
	Status    bool   `json:"status" doc:"true"`
	Success   bool   `json:"success" doc:"true"`
	Message   string `json:"message" doc:"for people"`
}

func (s *server) endSession(c echo.Context) error {
	family := param(c, "family")
	at, err := s.Keys.EndSession(c.Request().Context(), caller(c), param(c, "key_id"), family)
	if err != nil {
		return err
	}
	return ok(c, endedBody{family, at.Unix(), true, true, "Session was ended"})
}
