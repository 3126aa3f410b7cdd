package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Session is a pair of tokens at a server. The zero value is none.
type Session struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

// File keeps the sessions of a user, one per server, 0600 in a directory of mode 0700.
type File struct{ Path string }

// DefaultFile returns the place of the sessions: mero-auth/sessions.json in $XDG_CONFIG_HOME or ~/.config.
func DefaultFile(getenv func(string) string) (*File, error) {
	dir := getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) { // the XDG base directory specification ignores relative ones
		home := getenv("HOME")
		if home == "" {
			return nil, errors.New("neither XDG_CONFIG_HOME nor HOME is set: there is no place for the session")
		}
		dir = filepath.Join(home, ".config")
	}
	return &File{filepath.Join(dir, "mero-auth", "sessions.json")}, nil
}

// ErrExposed says that others can read the file.
var ErrExposed = errors.New("others can read the file with your session")

// Session returns the session at a server, the zero value if there is none.
func (f *File) Session(server string) (Session, error) {
	all, err := f.read()
	return all[server], err
}

func (f *File) read() (map[string]Session, error) {
	info, err := os.Stat(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]Session{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%w: %s has mode %04o; log out of all sessions and run `chmod 600 %s`", ErrExposed, f.Path, info.Mode().Perm(), f.Path)
	}
	text, err := os.ReadFile(f.Path)
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	all := map[string]Session{}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("session: %s is damaged, remove it and log in again: %w", f.Path, err)
	}
	return all, nil
}

// Update replaces the session at a server by what change returns, the zero value to remove it. Only one process at a
// time is in change. When change returns an error nothing is written.
func (f *File) Update(server string, change func(Session) (Session, error)) error {
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o700); err != nil {
		return fmt.Errorf("session: %w", err)
	}
	unlock, err := f.lock()
	if err != nil {
		return fmt.Errorf("session: %w", err)
	}
	defer unlock()
	all, err := f.read()
	if err != nil {
		return err
	}
	next, err := change(all[server])
	if err != nil {
		return err
	}
	if all[server] = next; next == (Session{}) {
		delete(all, server)
	}
	return f.write(all)
}

// lock holds a file beside the sessions, because they are replaced as a whole.
func (f *File) lock() (unlock func(), err error) {
	file, err := os.OpenFile(f.Path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() { _ = file.Close() }, nil // which lets go of the lock
}

func (f *File) write(all map[string]Session) error {
	text, err := json.MarshalIndent(all, "", "  ") //nolint:gosec // keeping the tokens, 0600, is what this file is for
	if err != nil {
		return fmt.Errorf("session: %w", err)
	}
	temp, err := os.CreateTemp(filepath.Dir(f.Path), ".sessions-*") // 0600
	if err != nil {
		return fmt.Errorf("session: %w", err)
	}
	_, err = temp.Write(append(text, '\n'))
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), f.Path)
	}
	if err != nil {
		return fmt.Errorf("session: %w", errors.Join(err, os.Remove(temp.Name())))
	}
	return nil
}
