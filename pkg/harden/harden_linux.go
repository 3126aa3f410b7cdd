// Package harden keeps what a process has in its memory from files and from other processes.
package harden

import (
	"errors"
	"fmt"
	"syscall"
)

// Process makes sure that the process leaves no core file, and that other processes of its user can neither attach to it
// nor read its memory and environment through /proc, of which the files become root's (prctl(2), PR_SET_DUMPABLE). Root still
// can. Call it first thing: what was read before it was done may have been read.
func Process() error {
	var errs []error
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		errs = append(errs, fmt.Errorf("no core files: %w", err))
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_DUMPABLE, 0, 0); errno != 0 {
		errs = append(errs, fmt.Errorf("no access by other processes: %w", errno))
	}
	return errors.Join(errs...)
}
