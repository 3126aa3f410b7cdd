package application

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/blob"
	"github.com/calimero-network/mero-go/services/node/internal/bundle"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/quota"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// Runtime is the version of the runtime that applications find here: the generation of the host functions that it
// has. Bundles say which one they need at least.
const Runtime = "0.11.0"

var runtimeVersion = func() bundle.Version {
	v, err := bundle.ParseVersion(Runtime)
	if err != nil {
		panic(err)
	}
	return v
}()

// How many downloads of each purpose, and installations of what is here, run at the same time, how many of them are of one
// key, and how long others wait.
const (
	concurrent      = 4
	concurrentOfKey = 2
	patience        = 30 * time.Second
)

// maxABIs bounds the interface descriptions of one application in bytes.
const maxABIs = 4 * bundle.MaxABI

// Options of an installation. The zero value asks for nothing special.
type Options struct {
	// Hash is the SHA-256 that the file must have, nil if it is not known.
	Hash *id.ID
	// Metadata is kept with a bare module. A bundle brings its own.
	Metadata []byte
	// Permit is asked, if not nil, once the application's id is known and before anything changes. Its error ends the
	// installation and is returned as it is.
	Permit func(app id.ID) error
}

// InstallURL downloads a bundle or a bare module and installs it. When it returns nil, the application is on disk;
// otherwise nothing has changed. The error wraps one of this package, or of packages fetch, bundle and blob.
func (s *Service) InstallURL(ctx context.Context, raw string, o Options) (Application, error) {
	u, err := s.Fetch.Parse(raw, o.Hash != nil)
	if err != nil {
		return Application{}, err
	}
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	from := origin{raw: raw, shown: shown.String(), path: u.Path}
	return s.install(ctx, from, o, func() (staged *blob.Staged, err error) {
		s.prepare()
		err = s.download(ctx, s.installs, u, o.Hash != nil, func(body io.Reader) error {
			staged, err = s.Blobs.Stage(ctx, body, o.Hash)
			return err
		})
		return staged, err
	})
}

// Download keeps what a URL leads to as a blob, with the settings of installations: the same hosts, networks and sizes,
// and as few at a time. want, if not nil, is the SHA-256 that the content must have. permit, if not nil, is asked when the
// content is complete; its error is returned as it is. When it returns nil, the blob is on disk; otherwise nothing has
// changed. The error wraps [ErrBusy] or one of packages fetch and blob.
func (s *Service) Download(ctx context.Context, raw string, want *id.ID, permit func() error) (info blob.Info, err error) {
	u, err := s.Fetch.Parse(raw, want != nil)
	if err != nil {
		return blob.Info{}, err
	}
	s.prepare()
	err = s.download(ctx, s.downloads, u, want != nil, func(body io.Reader) error {
		info, err = s.Blobs.Put(ctx, body, want, permit)
		return err
	})
	return info, err
}

// download takes a place among the downloads of a purpose and hands the body over.
func (s *Service) download(ctx context.Context, places *quota.Pool, u *url.URL, hashed bool, keep func(io.Reader) error) error {
	leave, err := place(ctx, places)
	if err != nil {
		return err
	}
	defer leave()
	body, err := s.Fetch.Get(ctx, u, hashed)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	return keep(body)
}

// InstallPath installs a bundle or a bare module from a file of this machine, which must be a regular one below one of
// the configured directories. It is only read. Otherwise it is [Service.InstallURL].
func (s *Service) InstallPath(ctx context.Context, path string, o Options) (Application, error) {
	path = filepath.Clean(path)
	f, err := s.openFile(path)
	if err != nil {
		return Application{}, err
	}
	defer func() { _ = f.Close() }()
	source := (&url.URL{Scheme: "file", Path: path}).String()
	return s.install(ctx, origin{raw: source, shown: source, path: path}, o, func() (*blob.Staged, error) {
		return s.Blobs.Stage(ctx, &limited{r: f, left: s.MaxSize}, o.Hash)
	})
}

// prepare makes the places.
func (s *Service) prepare() {
	s.once.Do(func() {
		for _, p := range []**quota.Pool{&s.installs, &s.downloads} {
			*p = quota.New(concurrent, concurrentOfKey, patience)
		}
		s.turns = quota.New(concurrent, concurrent, patience)
	})
}

// place waits for one of a few places.
func place(ctx context.Context, places *quota.Pool) (leave func(), err error) {
	leave, err = places.Take(ctx, caller.From(ctx).Key, 1)
	if errors.Is(err, quota.ErrBusy) {
		err = ErrBusy
	}
	return leave, err
}

// limited reports [ErrTooLarge] when there is more to read than left.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return n, ErrTooLarge
	}
	return n, err
}

// origin is where an application comes from.
type origin struct {
	raw   string // as it was named, which is part of the id of a bare module
	shown string // as it may be shown: without a query, which may be a credential
	path  string // of URL or file; what ends in .mpk must be a bundle
}

// install is the part of an installation that does not depend on where the file is. stage gets it here.
func (s *Service) install(ctx context.Context, from origin, o Options, stage func() (*blob.Staged, error)) (Application, error) {
	staged, err := stage()
	if err != nil {
		return Application{}, err
	}
	p := &pending{service: s, contents: []*blob.Staged{staged}, abis: map[string][]byte{}}
	defer p.discard(ctx)
	s.prepare()
	leave, err := place(ctx, s.turns)
	if err != nil {
		return Application{}, err
	}
	defer leave()
	p.app = Application{Blob: staged.Info.ID, Size: staged.Info.Size, Source: from.shown, Installed: s.Now().UTC()}
	isBundle, err := sniff(staged)
	switch {
	case err != nil:
		return Application{}, err
	case isBundle:
		err = p.bundle(ctx)
	case strings.HasSuffix(from.path, ".mpk"):
		err = fmt.Errorf("%w: a module is named as a bundle", ErrFormat)
	default:
		err = p.module(from.raw, o.Metadata)
	}
	if err != nil {
		return Application{}, err
	}
	if o.Permit != nil {
		if err := o.Permit(p.app.ID); err != nil {
			return Application{}, err
		}
	}
	if err := p.commit(ctx); err != nil {
		return Application{}, err
	}
	s.Log.InfoContext(ctx, "application installed", "application", p.app.ID.String(), "package", p.app.Package, "version", p.app.Version,
		"signer", p.app.SignerID, "source", from.shown, "bytes", p.app.Size)
	return p.app, nil
}

// sniff tells a bundle (true) from a module.
func sniff(staged *blob.Staged) (bool, error) {
	r := staged.Open()
	defer func() { _ = r.Close() }()
	head := make([]byte, len(bundle.ModuleHeader))
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return false, err
	}
	switch head := string(head[:n]); {
	case strings.HasPrefix(head, string(bundle.GzipHeader)):
		return true, nil
	case head == string(bundle.ModuleHeader):
		return false, nil
	}
	return false, ErrFormat
}

// pending is an installation whose contents are on disk and not in the index yet.
type pending struct {
	service  *Service
	app      Application
	contents []*blob.Staged
	abis     map[string][]byte // by service
}

func (p *pending) discard(ctx context.Context) {
	for _, c := range p.contents {
		c.Discard(ctx)
	}
}

// module completes a bare module.
func (p *pending) module(source string, metadata []byte) error {
	c := p.contents[0]
	abi, err := p.checkModule(c)
	if err != nil {
		return err
	}
	if abi != nil {
		p.abis[""] = abi
	}
	p.app.Wasm, p.app.Metadata = c.Info.ID, metadata
	p.app.ID, err = moduleID(c.Info.ID, c.Info.Size, source, metadata)
	return err
}

// checkModule looks at size and frame of a module and returns the interface description in it.
func (p *pending) checkModule(c *blob.Staged) ([]byte, error) {
	if c.Info.Size > p.service.MaxModule {
		return nil, fmt.Errorf("%w: a module of more than %d bytes", ErrTooLarge, p.service.MaxModule)
	}
	r := c.Open()
	defer func() { _ = r.Close() }()
	return bundle.ModuleABI(r)
}

// bundle checks a bundle and takes its modules out of it.
func (p *pending) bundle(ctx context.Context) error {
	archive := p.contents[0]
	r := archive.Open()
	m, err := bundle.Inspect(r, bundle.DefaultLimits)
	_ = r.Close()
	if err != nil {
		return err
	}
	if err := m.RunsOn(runtimeVersion); err != nil {
		return err
	}
	found, err := p.extract(ctx, archive, m)
	if err != nil {
		return err
	}
	p.app.Package, p.app.Version, p.app.SignerID = m.Package, m.AppVersion, m.SignerID
	if p.app.Metadata, err = m.Description(); err != nil {
		return err
	}
	if m.Wasm != nil {
		p.app.Wasm = found.modules[m.Wasm.Path]
		p.describe("", m.Wasm, m.ABI, found)
	}
	for _, service := range m.Services {
		p.app.Services = append(p.app.Services, store.Service{Name: service.Name, Wasm: found.modules[service.Wasm.Path]})
		p.describe(service.Name, service.Wasm, service.ABI, found)
	}
	var size int
	for _, text := range p.abis {
		size += len(text)
	}
	if size > maxABIs {
		return fmt.Errorf("%w: interface descriptions of more than %d bytes", ErrTooLarge, maxABIs)
	}
	p.app.ID, err = bundleID(m.Package, m.SignerID)
	return err
}

// describe chooses the interface description of a service: the bundle's own, or else the one in the module.
func (p *pending) describe(service string, wasm, abi *bundle.Artifact, found artifacts) {
	text := found.embedded[wasm.Path]
	if abi != nil {
		text = found.abis[abi.Path]
	}
	if text != nil {
		p.abis[service] = text
	}
}

// artifacts are what an installation needs of a bundle, by path.
type artifacts struct {
	modules  map[string]id.ID  // the blobs that they will be
	embedded map[string][]byte // the interface descriptions in them
	abis     map[string][]byte // the interface descriptions beside them
}

// extract stages the modules of a bundle and reads its interface descriptions.
func (p *pending) extract(ctx context.Context, archive *blob.Staged, m bundle.Manifest) (artifacts, error) {
	found := artifacts{modules: map[string]id.ID{}, embedded: map[string][]byte{}, abis: map[string][]byte{}}
	modules, abis := map[string]bool{}, map[string]bool{}
	for _, s := range append([]bundle.Service{{Wasm: m.Wasm, ABI: m.ABI}}, m.Services...) {
		if s.Wasm != nil {
			modules[s.Wasm.Path] = true
		}
		if s.ABI != nil {
			abis[s.ABI.Path] = true
		}
	}
	r := archive.Open()
	defer func() { _ = r.Close() }()
	err := bundle.Extract(r, bundle.DefaultLimits, m, func(a bundle.Artifact, content io.Reader) error {
		switch {
		case modules[a.Path] && abis[a.Path]:
			return fmt.Errorf("%w: %s is a module and a description", bundle.ErrManifest, a.Path)
		case modules[a.Path] && a.Size > p.service.MaxModule:
			return fmt.Errorf("%w: a module of more than %d bytes", ErrTooLarge, p.service.MaxModule)
		case modules[a.Path]:
			c, err := p.service.Blobs.Stage(ctx, content, nil)
			if err != nil {
				return err
			}
			p.contents = append(p.contents, c)
			found.modules[a.Path] = c.Info.ID
			found.embedded[a.Path], err = p.checkModule(c)
			return err
		case abis[a.Path]:
			text, err := readABI(a, content)
			found.abis[a.Path] = text
			return err
		}
		_, err := io.Copy(io.Discard, content)
		return err
	})
	return found, err
}

// commit makes blobs of the contents and enters the application, in one transaction.
func (p *pending) commit(ctx context.Context) error {
	for _, c := range p.contents {
		c.Info.Bound = true
	}
	err := p.service.Blobs.Commit(ctx, func(tx *store.Tx) error { return tx.PutApplication(p.app, p.abis) }, p.contents...)
	if err != nil {
		return err
	}
	p.service.Blobs.Reclaim(ctx) // what the version before left behind
	return nil
}
