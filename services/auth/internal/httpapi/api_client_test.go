package httpapi_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
)

// answer is a response that was read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

// json decodes the body of an answer.
func (r answer) json(t *testing.T, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.body), into); err != nil {
		t.Fatalf("body %q: %v", r.body, err)
	}
}

// data decodes the data member of the envelope, whose other member must be a null error.
func (r answer) data(t *testing.T, into any) {
	t.Helper()
	var envelope struct {
		Data  json.RawMessage `json:"data"`
		Error *string         `json:"error"`
	}
	r.json(t, &envelope)
	if r.status != http.StatusOK || envelope.Error != nil {
		t.Fatalf("answer %d %s, want a success", r.status, r.body)
	}
	if err := json.Unmarshal(envelope.Data, into); err != nil {
		t.Fatalf("data %s: %v", envelope.Data, err)
	}
}

// message returns the text of an error answer, whose envelope must be {"data":null,"error":"text"}.
func (r answer) message(t *testing.T, what string) string {
	t.Helper()
	var envelope map[string]any
	if err := json.Unmarshal([]byte(r.body), &envelope); err != nil {
		t.Errorf("%s: body %q: %v", what, r.body, err)
		return ""
	}
	text, isText := envelope["error"].(string)
	data, hasData := envelope["data"]
	if len(envelope) != 2 || !isText || text == "" || !hasData || data != nil {
		t.Errorf(`%s: body %s, want {"data":null,"error":"text"}`, what, r.body)
	}
	if got := r.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("%s: Content-Type %q", what, got)
	}
	return text
}

// call sends a request; token "" sends none, and a body that is no string is encoded as JSON.
func (a *api) call(t *testing.T, method, path, token string, body any, headers ...string) answer {
	t.Helper()
	var reader io.Reader = http.NoBody
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		reader = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+a.addr+path, reader)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		switch name, value := headers[i], headers[i+1]; {
		case name == "Host":
			req.Host = value
		case value == "":
			req.Header.Del(name)
		default:
			req.Header.Add(name, value)
		}
	}
	res, err := http.DefaultTransport.RoundTrip(req) // follows no redirect
	if err != nil {
		t.Fatal(err)
	}
	return finish(t, res)
}

func finish(t *testing.T, res *http.Response) answer {
	t.Helper()
	body, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(body)}
}

// raw sends bytes as they are and returns the first answer, or status 0 when the connection is closed without one.
// closed reports whether the server closed the connection after it.
func (a *api) raw(t *testing.T, method string, parts ...[]byte) (r answer, closed bool) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", a.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // the server may have closed it
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	for _, part := range parts {
		if _, err := conn.Write(part); err != nil {
			break // refused while it was sent; the answer tells
		}
	}
	reader := bufio.NewReader(conn)
	var res *http.Response
	for res == nil || res.StatusCode == http.StatusContinue {
		if res, err = http.ReadResponse(reader, &http.Request{Method: method}); err != nil {
			if timeout, is := errors.AsType[net.Error](err); is && timeout.Timeout() {
				t.Fatal("the server neither answered nor closed the connection")
			}
			return answer{}, true
		}
	}
	body, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(body)}, res.Close
}

// tokens is a pair as the service answers it.
type tokens struct {
	Access  string  `json:"access_token"`
	Refresh string  `json:"refresh_token"`
	Error   *string `json:"error"`
}

// loginBody is a login of a password account.
func (a *api) loginBody(name string) map[string]any {
	return map[string]any{
		"auth_method": "user_password", "public_key": name, "client_name": "mero-js-sdk", "timestamp": 1760000000000, "permissions": []string{},
		"provider_data": map[string]string{"username": name, "password": a.password},
	}
}

func (a *api) logIn(t *testing.T, name string) (pair tokens) {
	t.Helper()
	a.call(t, http.MethodPost, "/auth/token", "", a.loginBody(name)).data(t, &pair)
	return pair
}

// mint makes a client key over HTTP and returns its tokens.
func (a *api) mint(t *testing.T, token string, permissions ...string) (pair tokens) {
	t.Helper()
	a.call(t, http.MethodPost, "/admin/client-key", token, map[string]any{"permissions": permissions}).data(t, &pair)
	return pair
}

// says is what a token says, read without verifying.
type says struct {
	Sub         string   `json:"sub"`
	Fam         string   `json:"fam"`
	Iat         int64    `json:"iat"`
	Exp         int64    `json:"exp"`
	NodeURL     string   `json:"node_url"`
	Permissions []string `json:"permissions"`
}

func parse(t *testing.T, raw string) (c says) {
	t.Helper()
	_, rest, _ := strings.Cut(raw, ".")
	text, _, _ := strings.Cut(rest, ".")
	payload, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatalf("token %q: %v", raw, err)
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		t.Fatalf("token %q: %v", raw, err)
	}
	return c
}

// digest returns all that is stored, but for the signing secrets.
func (a *api) digest(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	err := a.db.View(t.Context(), func(tx kv.Tx) error {
		for _, bucket := range []string{"root", "client", "root_clients", "minted", "permissions", "family", "key_families", "challenge", "account"} {
			for key, value := range tx.Scan(bucket, "") {
				all.WriteString(bucket + ":" + key + "=" + string(value) + "\n")
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// readAll returns the body of a response.
func readAll(res *http.Response) (string, error) {
	raw, err := io.ReadAll(res.Body)
	return string(raw), err
}
