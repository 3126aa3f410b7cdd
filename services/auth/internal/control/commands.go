package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/bootstrap"
	"github.com/calimero-network/mero-go/services/auth/internal/operate"
	"github.com/calimero-network/mero-go/services/auth/internal/seal"
)

// Sizes of what goes over the socket, in bytes.
const (
	maxCommand = 2 * seal.MaxSealedFile // base64 of a sealed file, and a little
	maxAnswer  = 2 * seal.MaxSealedFile
)

// The commands. Each is a POST whose body and answer are JSON, but the answer to a backup is the backup.
const (
	pathPing      = "/ping"
	pathBootstrap = "/bootstrap/show"
	pathList      = "/secrets/list"
	pathRotate    = "/secrets/rotate"
	pathImport    = "/secrets/import"
	pathExport    = "/secrets/export"
	pathMaster    = "/secrets/master"
	pathBackup    = "/backup"
	pathRecover   = "/keys/recover"
)

type none struct{}

type showRequest struct {
	Renew bool `json:"renew"`
}

type exportRequest struct {
	Passphrase []byte `json:"passphrase"`
}

type exportAnswer struct {
	File []byte `json:"file"`
}

// Handler serves the commands.
func Handler(s *operate.Service, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	handle(mux, log, pathBootstrap, func(ctx context.Context, in showRequest) (bootstrap.Shown, error) {
		return s.Bootstrap.Show(ctx, in.Renew)
	})
	handle(mux, log, pathList, func(ctx context.Context, _ none) ([]operate.Key, error) { return s.ListSecrets(ctx) })
	handle(mux, log, pathRotate, s.RotateSecrets)
	handle(mux, log, pathImport, s.ImportSecrets)
	handle(mux, log, pathExport, func(ctx context.Context, in exportRequest) (exportAnswer, error) {
		file, err := s.ExportSecrets(ctx, in.Passphrase)
		return exportAnswer{file}, err
	})
	handle(mux, log, pathMaster, s.ChangeMaster)
	handle(mux, log, pathRecover, s.Recover)
	handle(mux, log, pathPing, func(context.Context, none) (none, error) { return none{}, nil })
	mux.HandleFunc("POST "+pathBackup, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		out := &stream{to: w, control: http.NewResponseController(w)}
		if err := s.Backup(r.Context(), out); err != nil {
			log.ErrorContext(r.Context(), "control command failed", "command", pathBackup, "error", err)
			if out.begun {
				panic(http.ErrAbortHandler) // a backup that is cut off must not look like one that has ended
			}
			refuse(w, err)
		}
	})
	return mux
}

// handle serves a command.
func handle[In, Out any](mux *http.ServeMux, log *slog.Logger, path string, run func(context.Context, In) (Out, error)) {
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		var in In
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxCommand)).Decode(&in); err != nil {
			http.Error(w, "malformed command: "+err.Error(), http.StatusBadRequest)
			return
		}
		out, err := run(r.Context(), in)
		if err != nil {
			log.ErrorContext(r.Context(), "control command failed", "command", path, "error", err)
			refuse(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(out); err != nil {
			log.DebugContext(r.Context(), "control answer not written", "error", err)
		}
	})
}

// refuse tells the operator on the host, who is no client, the whole error.
func refuse(w http.ResponseWriter, err error) {
	http.Error(w, err.Error(), http.StatusInternalServerError)
}

// stream gives every piece of a long answer its own time-out: a reader that stops must not hold a snapshot of the
// store for ever.
type stream struct {
	to      io.Writer
	control *http.ResponseController
	begun   bool
}

// pieceTimeout is how long a piece of a backup may take to be read.
const pieceTimeout = 30 * time.Second

func (s *stream) Write(p []byte) (int, error) {
	s.begun = true
	if err := s.control.SetWriteDeadline(time.Now().Add(pieceTimeout)); err != nil { //nolint:forbidigo // of a socket
		return 0, err
	}
	return s.to.Write(p)
}

// Client gives commands to the service on a store. Its methods are those of operate.Service; ErrNotRunning says that
// there is no service.
type Client struct{ Dir string }

// Ping returns nil when a service answers.
func (c Client) Ping(ctx context.Context) error { return c.call(ctx, pathPing, none{}, &none{}) }

// ShowBootstrap shows the bootstrap secret.
func (c Client) ShowBootstrap(ctx context.Context, renew bool) (shown bootstrap.Shown, err error) {
	return shown, c.call(ctx, pathBootstrap, showRequest{renew}, &shown)
}

// ListSecrets is [operate.Service.ListSecrets].
func (c Client) ListSecrets(ctx context.Context) (list []operate.Key, err error) {
	return list, c.call(ctx, pathList, none{}, &list)
}

// RotateSecrets is [operate.Service.RotateSecrets].
func (c Client) RotateSecrets(ctx context.Context, r operate.Rotation) (done []operate.Rotated, err error) {
	return done, c.call(ctx, pathRotate, r, &done)
}

// ImportSecrets is [operate.Service.ImportSecrets].
func (c Client) ImportSecrets(ctx context.Context, i operate.Import) (done operate.Imported, err error) {
	return done, c.call(ctx, pathImport, i, &done)
}

// ExportSecrets is [operate.Service.ExportSecrets].
func (c Client) ExportSecrets(ctx context.Context, passphrase []byte) ([]byte, error) {
	var answer exportAnswer
	err := c.call(ctx, pathExport, exportRequest{passphrase}, &answer)
	return answer.File, err
}

// ChangeMaster is [operate.Service.ChangeMaster].
func (c Client) ChangeMaster(ctx context.Context, m operate.MasterChange) (done operate.MasterChanged, err error) {
	return done, c.call(ctx, pathMaster, m, &done)
}

// Recover is [operate.Service.Recover].
func (c Client) Recover(ctx context.Context, r operate.Recovery) (shown bootstrap.Shown, err error) {
	return shown, c.call(ctx, pathRecover, r, &shown)
}

// Backup is [operate.Service.Backup]. A nil error does not say that the backup is whole: read it.
func (c Client) Backup(ctx context.Context, w io.Writer) error {
	res, err := c.post(ctx, pathBackup, none{}, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}
