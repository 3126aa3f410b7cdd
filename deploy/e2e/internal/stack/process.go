package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// stopWithin is how long a process may take to end after SIGTERM before it is killed, which is an error.
const stopWithin = time.Minute

// Process is a program that runs in the background. Set the exported fields, then call Start.
type Process struct {
	Name    string
	Addr    string // where it listens, when the caller wants to know
	Dir     string // working directory; the log is NAME.log in it
	Env     []string
	Command []string
	Ready   func(context.Context) error // nil when it serves

	cmd   *exec.Cmd
	ended chan struct{} // closed when the process has ended
}

func (p *Process) logPath() string { return filepath.Join(p.Dir, p.Name+".log") }

// Start starts the process and waits until it is ready. A process that was killed or stopped can be started again; its
// log goes on.
func (p *Process) Start(ctx context.Context) error {
	if err := p.launch(); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		err := p.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended at once; its log ends with:\n%s", p.Name, p.tail())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s is not ready: %w; its log ends with:\n%s", p.Name, err, p.tail()), p.Stop())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (p *Process) launch() error {
	log, err := os.OpenFile(p.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()                  // the child has its own
	cmd := exec.Command(p.Command[0], p.Command[1:]...) //nolint:gosec,noctx // stopped by Stop, which is kinder than a context
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.Dir, p.Env, log, log
	// Whatever ends the tests also ends the process. nginx tells its workers only when it gets the chance: SIGTERM.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	p.cmd, p.ended = cmd, ended
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
	}()
	return nil
}

// Run runs the process to its end, without waiting for readiness, and returns its exit code. It is for starts that are
// expected to be refused.
func (p *Process) Run(ctx context.Context) (int, error) {
	if err := p.launch(); err != nil {
		return 0, err
	}
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, errors.Join(ctx.Err(), p.Stop())
	case <-time.After(readyWithin):
		return 0, errors.Join(fmt.Errorf("%s still runs", p.Name), p.Stop())
	}
}

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	if p.ended == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Stop asks the process to end and waits; it is no error when it has ended already.
func (p *Process) Stop() error {
	if !p.Running() {
		return nil
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // an error says that it has just ended
	select {
	case <-p.ended:
		return nil
	case <-time.After(stopWithin):
		p.Kill()
		return fmt.Errorf("%s did not end within %s of SIGTERM", p.Name, stopWithin)
	}
}

// Kill is kill -9 of the process and its children.
func (p *Process) Kill() {
	if p.Running() {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // an error says that it has just ended
		<-p.ended
	}
}

// Log returns what the process has written so far.
func (p *Process) Log() (string, error) {
	text, err := os.ReadFile(p.logPath())
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return string(text), err
}

// tail returns the last lines of the log.
func (p *Process) tail() string {
	text, err := os.ReadFile(p.logPath())
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-10):], []byte("\n")))
}

// accepts waits for a listener at addr.
func accepts(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}
