package store

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// Application is one version of an installed application. What came as a signed bundle keeps its id from version to
// version, so a version is named by application id and blob.
type Application struct {
	ID       id.ID     `json:"-"`
	Blob     id.ID     `json:"-"`    // what was installed: the bundle, or the module itself
	Size     int64     `json:"size"` // of that blob, in bytes
	Source   string    `json:"source"`
	Metadata []byte    `json:"metadata,omitempty"`
	Package  string    `json:"package,omitempty"`
	Version  string    `json:"version,omitempty"`
	SignerID string    `json:"signer_id,omitempty"` // did:key of who signed the bundle; "" for a module without a bundle
	Wasm     id.ID     `json:"wasm"`                // the blob of the module; zero if there are only named services
	Services []Service `json:"services,omitempty"`  // sorted by name
	// Installed is when this version was installed last.
	Installed time.Time `json:"installed"`
	// Uses is how many contexts run this version.
	Uses int `json:"uses,omitempty"`
	// Superseded says that another blob with the same version text has taken this one's place. It goes with the
	// last context that runs it.
	Superseded bool `json:"superseded,omitempty"`
}

// Service is one of several modules of an application.
type Service struct {
	Name string `json:"name"`
	Wasm id.ID  `json:"wasm"`
}

// Module returns the blob of the module of a service. The empty name stands for the only module there is. It
// reports false if there is no such service, or several and no name.
func (a *Application) Module(service string) (id.ID, bool) {
	if service == "" && len(a.Services) == 0 {
		return a.Wasm, true
	}
	for _, s := range a.Services {
		if s.Name == service || service == "" && len(a.Services) == 1 {
			return s.Wasm, true
		}
	}
	return id.ID{}, false
}

// blobs returns every blob that the version needs, each once.
func (a *Application) blobs() []id.ID {
	all := []id.ID{a.Blob}
	for _, blob := range append([]id.ID{a.Wasm}, modules(a.Services)...) {
		if blob != (id.ID{}) && !slices.Contains(all, blob) {
			all = append(all, blob)
		}
	}
	return all
}

func modules(services []Service) []id.ID {
	all := make([]id.ID, len(services))
	for i, s := range services {
		all[i] = s.Wasm
	}
	return all
}

type versionRecord struct {
	V int `json:"v"`
	Application
}

type applicationRecord struct {
	V       int   `json:"v"`
	Current id.ID `json:"current"`
}

func versionKey(app, blob id.ID) []byte { return append(app[:], blob[:]...) }

// PutApplication enters a version, whose blobs must be in the index and gain a use, with the ABIs of its services
// (of "" for the only module). It becomes the one that [Tx.Application] returns. What is there already only gets the
// new source and time; another blob of the same version text is superseded.
func (t *Tx) PutApplication(a Application, abis map[string][]byte) error {
	old, err := t.ApplicationVersion(a.ID, a.Blob)
	switch {
	case err == nil:
		old.Source, old.Installed, old.Superseded = a.Source, a.Installed, false
		a = old
	case errors.Is(err, ErrNotFound):
		a.Uses, a.Superseded = 0, false
		if err := t.enter(a, abis); err != nil {
			return err
		}
	default:
		return err
	}
	if err := t.supersede(a); err != nil {
		return err
	}
	if err := t.putVersion(a); err != nil {
		return err
	}
	return t.put(bucketApplications, a.ID[:], applicationRecord{1, a.Blob})
}

// enter takes the uses of a new version's blobs and writes its ABIs.
func (t *Tx) enter(a Application, abis map[string][]byte) error {
	for _, blob := range a.blobs() {
		if err := t.UseBlob(blob, 1); err != nil {
			return fmt.Errorf("blob %s of application %s: %w", blob, a.ID, err)
		}
	}
	for service, text := range abis {
		if err := t.tx.Bucket(bucketABIs).Put(abiKey(a.ID, a.Blob, service), text); err != nil {
			return err
		}
	}
	return nil
}

// supersede marks the other versions that have the version text of a, or drops them if no context runs them.
func (t *Tx) supersede(a Application) error {
	var same []Application
	for other, err := range t.ApplicationVersions(a.ID) {
		if err != nil {
			return err
		}
		if other.Version == a.Version && other.Blob != a.Blob {
			same = append(same, other)
		}
	}
	for _, other := range same {
		other.Superseded = true
		if err := t.keepOrDrop(other); err != nil {
			return err
		}
	}
	return nil
}

// keepOrDrop writes a version, or drops it if it is superseded and no context runs it.
func (t *Tx) keepOrDrop(a Application) error {
	if a.Superseded && a.Uses == 0 {
		return t.dropVersion(a)
	}
	return t.putVersion(a)
}

func (t *Tx) putVersion(a Application) error {
	return t.put(bucketVersions, versionKey(a.ID, a.Blob), versionRecord{1, a})
}

// dropVersion removes a version with its ABIs and its uses of blobs.
func (t *Tx) dropVersion(a Application) error {
	prefix := versionKey(a.ID, a.Blob)
	var stale [][]byte
	c := t.tx.Bucket(bucketABIs).Cursor()
	for key, _ := c.Seek(prefix); bytes.HasPrefix(key, prefix); key, _ = c.Next() {
		stale = append(stale, bytes.Clone(key))
	}
	for _, key := range stale {
		if err := t.tx.Bucket(bucketABIs).Delete(key); err != nil {
			return err
		}
	}
	for _, blob := range a.blobs() {
		if err := t.ReleaseBlob(blob); err != nil {
			return fmt.Errorf("blob %s of application %s: %w", blob, a.ID, err)
		}
	}
	return t.tx.Bucket(bucketVersions).Delete(prefix)
}

// RemoveApplication removes an application with all its versions. The blobs that only it needed go too, their
// chunks as in [Tx.RemoveBlob]. The error is [ErrNotFound], or [ErrInUse] while a context runs one of the versions.
func (t *Tx) RemoveApplication(app id.ID) error {
	if t.tx.Bucket(bucketApplications).Get(app[:]) == nil {
		return ErrNotFound
	}
	var all []Application
	for a, err := range t.ApplicationVersions(app) {
		if err != nil {
			return err
		}
		if a.Uses > 0 {
			return ErrInUse
		}
		all = append(all, a)
	}
	for _, a := range all {
		if err := t.dropVersion(a); err != nil {
			return err
		}
	}
	return errors.Join(t.removeAliasesTo(ApplicationAlias, app), t.tx.Bucket(bucketApplications).Delete(app[:]))
}

// UseApplication changes the number of contexts that run a version of an application by delta: 1 when a context
// begins to run it, -1 when it ends or changes to another version. A superseded version goes with its last context,
// and its chunks are then dead as in [Tx.RemoveBlob]. The error is [ErrNotFound] if there is no such version.
func (t *Tx) UseApplication(app, blob id.ID, delta int) error {
	a, err := t.ApplicationVersion(app, blob)
	if err != nil {
		return err
	}
	if a.Uses += delta; a.Uses < 0 {
		return fmt.Errorf("application %s: %d uses", app, a.Uses)
	}
	return t.keepOrDrop(a)
}

// Application reads the version of an application that was installed last, which new contexts get. The error is
// [ErrNotFound] if there is no such application.
func (t *Tx) Application(app id.ID) (Application, error) {
	var r applicationRecord
	if err := t.get(bucketApplications, app[:], &r); err != nil {
		return Application{}, err
	}
	return t.ApplicationVersion(app, r.Current)
}

// ApplicationVersion reads the version of an application that a blob is. The error is [ErrNotFound] if there is
// none.
func (t *Tx) ApplicationVersion(app, blob id.ID) (Application, error) {
	var r versionRecord
	if err := t.get(bucketVersions, versionKey(app, blob), &r); err != nil {
		return Application{}, err
	}
	r.ID, r.Blob = app, blob
	return r.Application, nil
}

// CountApplications returns the number of installed applications, each with all its versions as one.
func (t *Tx) CountApplications() int { return t.tx.Bucket(bucketApplications).Stats().KeyN }

// Applications yields the version of each application that was installed last, in the order of the ids, until an
// error.
func (t *Tx) Applications() iter.Seq2[Application, error] {
	return func(yield func(Application, error) bool) {
		c := t.tx.Bucket(bucketApplications).Cursor()
		for key, _ := c.First(); key != nil; key, _ = c.Next() {
			a, err := t.Application(id.ID(key))
			if !yield(a, err) || err != nil {
				return
			}
		}
	}
}

// ApplicationVersions yields all versions of an application, superseded ones too, in the order of their blobs, until
// an error. The bucket must not be changed meanwhile.
func (t *Tx) ApplicationVersions(app id.ID) iter.Seq2[Application, error] {
	return func(yield func(Application, error) bool) {
		c := t.tx.Bucket(bucketVersions).Cursor()
		for key, text := c.Seek(app[:]); bytes.HasPrefix(key, app[:]); key, text = c.Next() {
			var r versionRecord
			err := decode(bucketVersions, key, text, &r)
			if err == nil {
				r.ID, r.Blob = app, id.ID(key[id.Size:])
			}
			if !yield(r.Application, err) || err != nil {
				return
			}
		}
	}
}

// ABI returns the description of a service's interface, a JSON text. The error is [ErrNotFound] if there is none.
func (t *Tx) ABI(app, blob id.ID, service string) ([]byte, error) {
	text := t.tx.Bucket(bucketABIs).Get(abiKey(app, blob, service))
	if text == nil {
		return nil, ErrNotFound
	}
	return bytes.Clone(text), nil
}

func abiKey(app, blob id.ID, service string) []byte { return append(versionKey(app, blob), service...) }
