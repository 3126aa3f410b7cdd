package httpapi

import "github.com/labstack/echo/v4"

type sessionBody struct {
	Family      string     `json:"family"`
	KeyID       string     `json:"key_id"`
	CreatedAt   int64      `json:"created_at"`
	LastRefresh unixOrNull `json:"last_refresh"`
	LastUsedAt  int64      `json:"last_used_at"`
	ExpiresAt   int64      `json:"expires_at"`
	IdleEnd     unixOrNull `json:"idle_expires_at"`
	ClientName  string     `json:"client_name"`
	NodeURL     string     `json:"node_url"`
	Peer        string     `json:"peer"`
	Machine     bool       `json:"machine"`
	Current     bool       `json:"current"` // the session of the token that asks
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
	Family    string `json:"family"`
	RevokedAt int64  `json:"revoked_at"`
	Status    bool   `json:"status"`
	Success   bool   `json:"success"`
	Message   string `json:"message"`
}

func (s *server) endSession(c echo.Context) error {
	family := param(c, "family")
	at, err := s.Keys.EndSession(c.Request().Context(), caller(c), param(c, "key_id"), family)
	if err != nil {
		return err
	}
	return ok(c, endedBody{family, at.Unix(), true, true, "Session was ended"})
}
