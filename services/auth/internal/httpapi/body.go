package httpapi

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/strictjson"
)

// decode reads the JSON body into v, which points to a struct. Only application/json is read: a form that any
// web page can post is not (security against cross-site requests), nor a compressed body.
func (s *server) decode(c echo.Context, v any) error {
	r := c.Request()
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	isJSON := media == "application/json" || (strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json"))
	charset := params["charset"]
	if err != nil || !isJSON || (charset != "" && !strings.EqualFold(charset, "utf-8")) {
		return fault.New(fault.UnsupportedMedia, "the body must be JSON with Content-Type: application/json")
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return fault.New(fault.UnsupportedMedia, "compressed bodies are not accepted")
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Response().Writer, r.Body, s.MaxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return fault.New(fault.TooLarge, fmt.Sprintf("the body is larger than %d bytes", s.MaxBody))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errSlowBody
	}
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "the body could not be read")
	}
	if err := strictjson.Unmarshal(body, v); err != nil {
		return fault.Wrap(err, fault.Invalid, "Invalid JSON: "+err.Error())
	}
	return nil
}

// errSlowBody is answered 408: the body did not arrive within the read time-out.
var errSlowBody = fault.New(fault.Invalid, "the body did not arrive in time")

// optionalBody reports whether the request carries a body at all.
func optionalBody(c echo.Context) bool { return c.Request().ContentLength != 0 }

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
