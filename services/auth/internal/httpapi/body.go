package httpapi

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/strictjson"
)

// decode reads the JSON body into v, which points to a struct. Only application/json is read: a form that any
// web page can post is not (security against cross-site requests), nor a compressed body.
func (s *server) decode(c echo.Context, v any) error {
	body, err := s.body(c)
	if err != nil {
		return err
	}
	return unmarshal(body, v)
}

// decodeChange is decode for what changes a thing that exists: a member other than those of v would be a change that is
// not made, so it is refused, and so is a body without any.
func (s *server) decodeChange(c echo.Context, v any, names ...string) error {
	body, err := s.body(c)
	if err != nil {
		return err
	}
	if err := unmarshal(body, v); err != nil {
		return err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return fault.Wrap(err, fault.Invalid, "Invalid JSON: must be an object")
	}
	for name := range members {
		if !slices.Contains(names, name) {
			return fault.New(fault.Invalid, "the body may have no members but "+strings.Join(names, " and "))
		}
	}
	if len(members) == 0 {
		return fault.New(fault.Invalid, "the body must have "+strings.Join(names, " or "))
	}
	return nil
}

func unmarshal(body []byte, v any) error {
	if err := strictjson.Unmarshal(body, v); err != nil {
		return fault.Wrap(err, fault.Invalid, "Invalid JSON: "+err.Error())
	}
	return nil
}

// body reads the body of a request that must be JSON.
func (s *server) body(c echo.Context) ([]byte, error) {
	r := c.Request()
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	isJSON := media == "application/json" || (strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json"))
	charset := params["charset"]
	if err != nil || !isJSON || (charset != "" && !strings.EqualFold(charset, "utf-8")) {
		return nil, fault.New(fault.UnsupportedMedia, "the body must be JSON with Content-Type: application/json")
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return nil, fault.New(fault.UnsupportedMedia, "compressed bodies are not accepted")
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Response().Writer, r.Body, s.MaxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, fault.New(fault.TooLarge, fmt.Sprintf("the body is larger than %d bytes", s.MaxBody))
	}
	if err != nil {
		return nil, unread(err)
	}
	return body, nil
}

// errSlowBody is answered 408: the body did not arrive within the read time-out.
var errSlowBody = fault.New(fault.Invalid, "the body did not arrive in time")

// hasBody reports whether the request carries a body at all. Of one whose length is not announced (chunks) it reads
// the beginning and puts it back.
func hasBody(c echo.Context) (bool, error) {
	r := c.Request()
	if r.ContentLength >= 0 {
		return r.ContentLength > 0, nil
	}
	ahead := bufio.NewReader(r.Body)
	switch _, err := ahead.Peek(1); {
	case errors.Is(err, io.EOF):
		return false, nil
	case err != nil:
		return false, unread(err)
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{ahead, r.Body}
	return true, nil
}

// unread is the answer to a body that broke off.
func unread(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errSlowBody
	}
	return fault.Wrap(err, fault.Invalid, "the body could not be read")
}

// required refuses a member that is absent (or null) and one that is empty.
func required(name string, value *string) (string, error) {
	switch {
	case value == nil:
		return "", fault.New(fault.Invalid, "Invalid JSON: missing field `"+name+"`")
	case *value == "":
		return "", fault.New(fault.Unprocessable, "Validation error: "+name+": must not be empty")
	}
	return *value, nil
}

// plain drops what the reference drops from texts: control characters and everything outside ASCII.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return -1
		}
		return r
	}, s)
}
