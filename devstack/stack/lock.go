//go:build unix

package stack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ErrLocked means that another process runs on the same data directory.
var ErrLocked = errors.New("the data directory is in use")

// lockDir makes this process the only one on the data directory until unlock or its end, however that comes.
func lockDir(dir string) (unlock func(), err error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // a path of ours
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		pid, _ := os.ReadFile(path) //nolint:gosec // only for the message
		return nil, errors.Join(fmt.Errorf("%w: another make run (process %s) uses %s; stop that one, or give this one another "+
			"GATEHOUSE_DATA_DIR and other ports", ErrLocked, strings.TrimSpace(string(pid)), dir), f.Close())
	}
	err = errors.Join(f.Truncate(0), write(f, strconv.Itoa(os.Getpid())+"\n"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock the data directory: %w", err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

func write(f *os.File, s string) error {
	_, err := f.WriteString(s)
	return err
}
