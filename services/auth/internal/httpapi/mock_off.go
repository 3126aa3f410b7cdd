//go:build !mock

package httpapi

import (
	"github.com/labstack/echo/v4"

	"github.com/calimero-network/mero-go/pkg/fault"
)

// mock answers as the reference does where mock tokens are disabled.
func (*server) mock(echo.Context) error { return fault.New(fault.NotFound, "Endpoint not found") }
