package httpapi

import (
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/node/internal/blob"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// Blob answers are the node's only snake-case ones.
type blobEntry struct {
	ID   id.ID `json:"blob_id"`
	Size int64 `json:"size"`
}

// putBlob stores the body. The parameter hash is the SHA-256 that it must have, context_id the context that is to
// learn of the blob, which concerns the network only.
func (a *API) putBlob(c *call) error {
	query, err := queryValues(c)
	if err != nil {
		return err
	}
	want, err := queryID(query, "hash")
	if err != nil {
		return err
	}
	if err := contextInReach(c, query); err != nil {
		return err
	}
	info, err := a.Blobs.Put(c.ctx(), c.Request().Body, want)
	if err != nil {
		return blobFault(err)
	}
	a.Metrics.Uploaded(info.Size)
	return data(c, blobEntry{info.ID, info.Size})
}

// addBlobURL stores what the node downloads.
func (a *API) addBlobURL(c *call) error {
	var r struct {
		URL     string  `json:"url"`
		Hash    *string `json:"hash"`
		Context *string `json:"context_id"`
	}
	if err := readJSON(c, maxBody, &r); err != nil {
		return err
	}
	if r.URL == "" {
		return fault.New(fault.Invalid, "url is required")
	}
	query := url.Values{}
	for name, value := range map[string]*string{"hash": r.Hash, "context_id": r.Context} {
		if value != nil && *value != "" {
			query.Set(name, *value)
		}
	}
	want, err := queryID(query, "hash")
	if err != nil {
		return err
	}
	if err := contextInReach(c, query); err != nil {
		return err
	}
	info, err := a.Apps.Download(c.ctx(), r.URL, want)
	if err != nil {
		return applicationFault(err)
	}
	a.Metrics.Uploaded(info.Size)
	return data(c, blobEntry{info.ID, info.Size})
}

// addBlobFile stores a file that is sent as a form sends it: the one part of the body, or the first of several, that has
// a file name. What else the form holds is skipped, up to maxBody. hash and context_id are those of putBlob.
func (a *API) addBlobFile(c *call) error {
	query, err := queryValues(c)
	if err != nil {
		return err
	}
	want, err := queryID(query, "hash")
	if err != nil {
		return err
	}
	if err := contextInReach(c, query); err != nil {
		return err
	}
	parts, err := c.Request().MultipartReader()
	if err != nil {
		return fault.Wrap(err, fault.UnsupportedMedia, "the body must be multipart/form-data")
	}
	for skipped := int64(0); skipped <= maxBody; {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fault.Wrap(err, fault.Invalid, "the form is malformed")
		}
		if part.FileName() == "" {
			n, err := io.Copy(io.Discard, io.LimitReader(part, maxBody+1-skipped))
			if err != nil {
				return fault.Wrap(err, fault.Invalid, "the form is malformed")
			}
			skipped += n + 1 // so that empty parts end too
			continue
		}
		info, err := a.Blobs.Put(c.ctx(), part, want)
		if err != nil {
			return blobFault(err)
		}
		a.Metrics.Uploaded(info.Size)
		return data(c, blobEntry{info.ID, info.Size})
	}
	return fault.New(fault.Invalid, "the form holds no file")
}

// contextInReach checks the parameter context_id, if there is one: a key that is bound to a context names no other.
func contextInReach(c *call, query url.Values) error {
	contextID, err := queryID(query, "context_id")
	if err == nil && contextID != nil && !caller.From(c.ctx()).Permissions.AllowsContext(contextID.String()) {
		err = caller.Denied()
	}
	return err
}

func queryValues(c *call) (url.Values, error) {
	query, err := url.ParseQuery(c.Request().URL.RawQuery)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "the query is malformed")
	}
	return query, nil
}

// queryID reads an optional id, nil if the parameter is absent.
func queryID(query url.Values, name string) (*id.ID, error) {
	values := query[name]
	if len(values) == 0 {
		return nil, nil //nolint:nilnil // absent is not an error
	}
	v, err := id.Parse(values[0])
	if err != nil || len(values) > 1 {
		return nil, fault.New(fault.Invalid, "The provided "+name+" is not a valid format")
	}
	return &v, nil
}

func (a *API) listBlobs(c *call) error {
	all, err := a.Blobs.List(c.ctx())
	if err != nil {
		return err
	}
	entries := make([]blobEntry, len(all))
	for i, b := range all {
		entries[i] = blobEntry{b.ID, b.Size}
	}
	return data(c, struct {
		Blobs []blobEntry `json:"blobs"`
	}{entries})
}

// getBlob serves the content, whole or in a range, and to HEAD its headers.
func (a *API) getBlob(c *call) error {
	blobID, err := blobParam(c)
	if err != nil {
		return err
	}
	query, err := queryValues(c)
	if err != nil {
		return err
	}
	// With a context, peers that share it would be asked for a blob that is not here.
	if err := contextInReach(c, query); err != nil {
		return err
	}
	r, err := a.Blobs.Open(c.ctx(), blobID)
	if err != nil {
		return blobFault(err)
	}
	defer func() { _ = r.Close() }()
	h, hash := c.Response().Header(), hex.EncodeToString(r.Info.Hash[:])
	h.Set(echo.HeaderContentType, r.Info.MIME)
	h.Set("ETag", `"`+hash+`"`)
	h.Set(echo.HeaderCacheControl, "public, max-age=3600")
	h.Add(echo.HeaderVary, echo.HeaderAuthorization) // a shared cache must not hand it to those whom the gate refuses
	h.Set("X-Blob-ID", r.Info.ID.String())
	h.Set("X-Blob-Hash", hash)
	h.Set("X-Blob-MIME-Type", r.Info.MIME)
	h.Set(echo.HeaderContentSecurityPolicy, "default-src 'none'; sandbox") // an uploaded page is no page of ours
	w := &contentWriter{ResponseWriter: c.Response()}
	http.ServeContent(w, oneRange(c.Request(), r.Info.Size), "", time.Time{}, r)
	if w.refused == http.StatusRequestedRangeNotSatisfiable {
		h.Set("Content-Range", "bytes */"+strconv.FormatInt(r.Info.Size, 10)) // the library leaves it out of malformed ones
	}
	if w.refused != 0 {
		return echo.NewHTTPError(w.refused)
	}
	return r.Err() // after the head is out it only reaches the log; the short body tells the client
}

// contentWriter keeps back the refusals of the library (412, 416), which are no JSON.
type contentWriter struct {
	http.ResponseWriter
	refused int
}

// WriteHeader implements http.ResponseWriter.
func (w *contentWriter) WriteHeader(status int) {
	if status >= http.StatusBadRequest {
		w.refused = status
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *contentWriter) Write(p []byte) (int, error) {
	if w.refused != 0 {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *contentWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// oneRange returns a request whose Range header, if there is one, asks for one range and means the same to the library
// as in RFC 9110. Several ranges, each of which could cost a whole chunk for a byte of it, and ranges of a HEAD request
// are ignored, as the RFC permits (sections 14.2 and 15.3.7): the answer is the whole content. So is any of an empty blob.
func oneRange(r *http.Request, size int64) *http.Request {
	values := r.Header["Range"]
	if len(values) == 0 {
		return r
	}
	several := len(values) > 1 || strings.Contains(values[0], ",")
	spec, isBytes := strings.CutPrefix(values[0], "bytes=")
	suffix, isSuffix := strings.CutPrefix(strings.TrimSpace(spec), "-")
	n, err := strconv.ParseInt(strings.TrimSpace(suffix), 10, 64)
	nothing := isBytes && isSuffix && err == nil && n == 0
	switch {
	case several || r.Method != http.MethodGet || size == 0:
		r = r.Clone(r.Context())
		r.Header.Del("Range")
	case nothing: // the last 0 bytes; the library makes a part of it that ends before it starts
		r = r.Clone(r.Context())
		r.Header.Set("Range", "bytes="+strconv.FormatInt(size, 10)+"-")
	}
	return r
}

func (a *API) blobInfo(c *call) error {
	blobID, err := blobParam(c)
	if err != nil {
		return err
	}
	info, err := a.Blobs.Info(c.ctx(), blobID)
	if err != nil {
		return blobFault(err)
	}
	return data(c, struct {
		blobEntry
		Hash string `json:"hash"`
		MIME string `json:"mime_type"`
		Uses int    `json:"refcount"`
	}{blobEntry{info.ID, info.Size}, hex.EncodeToString(info.Hash[:]), info.MIME, info.Uses})
}

func (a *API) deleteBlob(c *call) error {
	blobID, err := blobParam(c)
	if err != nil {
		return err
	}
	switch err := a.Blobs.Delete(c.ctx(), blobID); {
	case errors.Is(err, blob.ErrNotFound):
		return fault.Wrap(err, fault.NotFound, "Blob not found")
	case err != nil:
		return blobFault(err)
	}
	return c.ok(struct {
		ID      id.ID `json:"blob_id"`
		Deleted bool  `json:"deleted"`
	}{blobID, true})
}

func blobParam(c *call) (id.ID, error) {
	blobID, err := id.Parse(c.param("blob_id"))
	if err != nil {
		return id.ID{}, fault.Wrap(err, fault.Invalid, "Invalid blob ID format")
	}
	return blobID, nil
}

func blobFault(err error) error {
	switch {
	case errors.Is(err, blob.ErrNotFound):
		return fault.Wrap(err, fault.NotFound, "Blob not found locally or in network")
	case errors.Is(err, blob.ErrMismatch):
		return fault.Wrap(err, fault.Invalid, "blob hash mismatch")
	case errors.Is(err, blob.ErrTooLarge):
		return fault.Wrap(err, fault.TooLarge, "the blob is larger than the node's limit")
	case errors.Is(err, blob.ErrContent) && !errors.Is(err, os.ErrDeadlineExceeded):
		return fault.Wrap(err, fault.Invalid, "the body ended before its time")
	case errors.Is(err, blob.ErrInUse):
		return fault.Wrap(err, fault.Conflict, "the blob is in use")
	}
	return err
}
