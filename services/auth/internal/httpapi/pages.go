package httpapi

import (
	"embed"
	"html/template"
	"io"

	"github.com/labstack/echo/v4"
)

//go:embed pages/login.html
var pageFiles embed.FS

var loginTemplate = template.Must(template.ParseFS(pageFiles, "pages/login.html"))

// pages renders the few pages that mero-auth has itself.
type pages struct{}

// Render writes the page.
func (pages) Render(w io.Writer, _ string, data any, _ echo.Context) error {
	return loginTemplate.Execute(w, data)
}
