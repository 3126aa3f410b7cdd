package httpapi

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/reqctx"
	"github.com/calimero-network/mero-go/services/auth/internal/limit"
	"github.com/calimero-network/mero-go/services/auth/internal/login"
)

// pairBody is a token pair as clients expect it: with an error member of its own.
type pairBody struct {
	AccessToken  string  `json:"access_token" doc:"to be presented as Authorization: Bearer"`
	RefreshToken string  `json:"refresh_token" doc:"for POST /auth/refresh; empty for machine tokens"`
	Error        *string `json:"error" doc:"null"`
}

func okPair(c echo.Context, p login.Pair) error {
	return ok(c, pairBody{AccessToken: p.Access, RefreshToken: p.Refresh})
}

func (s *server) challenge(c echo.Context) error {
	if err := s.Limits.Take(limit.Challenge, reqctx.Peer(c.Request().Context())); err != nil {
		return limited(err)
	}
	method, err := s.challengeMethod(c.Request().URL.RawQuery)
	if err != nil {
		return err
	}
	text, claims, err := s.Challenges.Issue(method)
	if err != nil {
		return err
	}
	return ok(c, challengeBody{text, base64.StdEncoding.EncodeToString(claims.Nonce), claims.ID})
}

// challengeMethod returns the canonical auth_method that a challenge is asked for, "" when none is named: clients of the
// reference name none, because they choose the method later.
func (s *server) challengeMethod(rawQuery string) (string, error) {
	query, err := url.ParseQuery(rawQuery)
	switch {
	case err != nil:
		return "", fault.Wrap(err, fault.Invalid, "the query is malformed")
	case !query.Has("method"):
		return "", nil
	case len(query["method"]) > 1:
		return "", fault.New(fault.Invalid, "method occurs more than once")
	}
	p := s.Login.Provider(query.Get("method"))
	if p == nil {
		return "", fault.New(fault.Invalid, "unsupported authentication method")
	}
	return p.Name(), nil
}

type challengeBody struct {
	Challenge    string `json:"challenge" doc:"the signed challenge, to be sent back"`
	Nonce        string `json:"nonce" doc:"32 bytes in base64, for NEP-413"`
	MessageNonce string `json:"message_nonce" doc:"the Nonce of an EIP-4361 message"`
}

type tokenBody struct {
	AuthMethod   *string         `json:"auth_method" doc:"required; name of the provider"`
	PublicKey    *string         `json:"public_key" doc:"required; what people recognise the identity by"`
	ClientName   *string         `json:"client_name" doc:"required; an absolute http(s) URL binds the tokens to that host"`
	Timestamp    *uint64         `json:"timestamp" doc:"required by the protocol, believed by nobody"` // required by the protocol, believed by nobody
	Permissions  []string        `json:"permissions" doc:"ignored: the tokens get what the key holds"`
	ProviderData json.RawMessage `json:"provider_data" schema:"object" doc:"required; the proof, as the provider wants it, and bootstrap_secret for the first login"`
}

// request checks the body of POST /auth/token in the order in which the reference does.
func (b tokenBody) request() (login.Request, error) {
	var r login.Request
	var err error
	if r.AuthMethod, err = required("auth_method", b.AuthMethod); err != nil {
		return r, err
	}
	if r.PublicKey, err = required("public_key", b.PublicKey); err != nil {
		return r, err
	}
	if r.ClientName, err = required("client_name", b.ClientName); err != nil {
		return r, err
	}
	if b.Timestamp == nil {
		return r, fault.New(fault.Invalid, "Invalid JSON: missing field `timestamp`")
	}
	if len(b.ProviderData) == 0 {
		return r, fault.New(fault.Invalid, "Invalid JSON: missing field `provider_data`")
	}
	if len(r.ClientName) > login.MaxClientName {
		return r, fault.New(fault.Unprocessable, fmt.Sprintf("Validation error: client_name: longer than %d bytes", login.MaxClientName))
	}
	if !validMethodName(r.AuthMethod) {
		return r, fault.New(fault.Invalid, "Authentication method must contain valid characters")
	}
	if r.PublicKey = plain(r.PublicKey); r.PublicKey == "" {
		return r, fault.New(fault.Invalid, "Public key cannot be empty after sanitization")
	}
	if r.ClientName = plain(r.ClientName); r.ClientName == "" {
		return r, fault.New(fault.Invalid, "Client name cannot be empty after sanitization")
	}
	r.ProviderData = b.ProviderData
	return r, nil
}

// validMethodName accepts [A-Za-z0-9_-]; a name with anything else is refused, never cleaned into a known one.
func validMethodName(s string) bool {
	return len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""
}

func (s *server) token(c echo.Context) error {
	peer := reqctx.Peer(c.Request().Context())
	if err := s.Limits.Take(limit.Login, peer); err != nil {
		err = limited(err)
		s.refused(peer, "", err)
		return err
	}
	var body tokenBody
	if err := s.decode(c, &body); err != nil {
		return err
	}
	request, err := body.request()
	if err != nil {
		return err
	}
	request.Peer = peer
	started := s.Now()
	pair, err := s.attempt(c.Request(), request)
	s.Metrics.LoggedIn(s.providerName(request.AuthMethod), err, s.Now().Sub(started))
	s.refused(peer, s.account(request), err)
	if err != nil {
		return err
	}
	return okPair(c, pair)
}

// providerName returns the canonical name for a metric label, which must never be the client's text.
func (s *server) providerName(method string) string {
	if p := s.Login.Provider(method); p != nil {
		return p.Name()
	}
	return "unknown"
}

type refreshBody struct {
	AccessToken  *string `json:"access_token" doc:"required; the access token of the session"`
	RefreshToken *string `json:"refresh_token" doc:"required; its refresh token, which works once"`
}

func (s *server) refresh(c echo.Context) error {
	peer := reqctx.Peer(c.Request().Context())
	if err := s.Limits.Check(limit.Refresh, peer); err != nil {
		return limited(err)
	}
	pair, err := s.refreshed(c)
	if fails(err) {
		// Refreshes that succeed are not counted: behind one address there may be a whole office, or a proxy that
		// does not say for whom it asks.
		s.Limits.Charge(limit.Refresh, peer)
	}
	if err != nil {
		return err
	}
	return okPair(c, pair)
}

func (s *server) refreshed(c echo.Context) (login.Pair, error) {
	var body refreshBody
	if err := s.decode(c, &body); err != nil {
		return login.Pair{}, err
	}
	access, err := required("access_token", body.AccessToken)
	if err != nil {
		return login.Pair{}, err
	}
	refresh, err := required("refresh_token", body.RefreshToken)
	if err != nil {
		return login.Pair{}, err
	}
	pair, err := s.Login.Refresh(c.Request().Context(), access, refresh, s.Gate.RequestHost(c.Request()))
	s.Metrics.Refreshed(err)
	return pair, err
}

type providerBody struct {
	Name        string         `json:"name" doc:"canonical auth_method"`
	Type        string         `json:"type" doc:"wallet or credentials"`
	Description string         `json:"description" doc:"for people"`
	Configured  bool           `json:"configured" doc:"the provider can be used now"`
	Config      map[string]any `json:"config" doc:"public settings; reason when it is not configured"`
}

func (s *server) providers(c echo.Context) error {
	list := make([]providerBody, 0, len(s.Login.Providers))
	for _, p := range s.Login.Providers {
		info := p.Info()
		config := info.Config
		if config == nil {
			config = map[string]any{}
		}
		if !info.Configured {
			config["reason"] = info.Reason
		}
		list = append(list, providerBody{p.Name(), info.Type, info.Description, info.Configured, config})
	}
	open, err := s.Login.Bootstrap.IsOpen(c.Request().Context())
	if err != nil {
		return err
	}
	return ok(c, providersBody{len(list), list, open})
}

type providersBody struct {
	Count             int            `json:"count" doc:"how many"`
	Providers         []providerBody `json:"providers" doc:"in a fixed order"`
	BootstrapRequired bool           `json:"bootstrap_required" doc:"no root key exists: the first login needs the one-time secret"`
}

func (s *server) identity(c echo.Context) error {
	names := make([]string, 0, len(s.Login.Providers))
	for _, p := range s.Login.Providers {
		names = append(names, p.Name())
	}
	return ok(c, identityBody{"calimero-auth", s.Version, "forward", names})
}

type identityBody struct {
	Service   string   `json:"service" doc:"calimero-auth, which clients look for"`
	Version   string   `json:"version" doc:"of this build"`
	Mode      string   `json:"authentication_mode" doc:"forward"`
	Providers []string `json:"providers" doc:"their names"`
}

// health always answers 200, as clients expect of a probe that only asks whether somebody is there; readiness
// is for the operators' listener.
func (s *server) health(c echo.Context) error {
	alive, storage := "alive", true
	if err := s.Readable(c.Request().Context()); err != nil {
		alive, storage = "not_alive", false
	}
	return ok(c, healthBody{alive, storage, int64(s.Now().Sub(s.Started).Seconds())})
}

type healthBody struct {
	Status  string `json:"status" doc:"alive or not_alive"`
	Storage bool   `json:"storage" doc:"the store can be read"`
	Uptime  int64  `json:"uptime_seconds" doc:"since the start"`
}

// loginPage stands in for the login application with what people can do without it.
func (s *server) loginPage(c echo.Context) error {
	address := s.PublicURL
	if address == "" {
		address = "http://" + c.Request().Host
	}
	s.noReferrer(c)
	return c.Render(http.StatusOK, "login", map[string]any{"Address": address, "Providers": s.Login.Providers})
}
