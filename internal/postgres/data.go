//go:build unix

package postgres

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// environment is what the server gets: none of the PG* variables that a developer's shell may hold.
func environment() []string {
	return []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_MESSAGES=C", "HOME=/", "TZ=UTC"}
}

func (c *Cluster) serverArgs() []string {
	settings := []string{
		"listen_addresses=127.0.0.1",
		"port=" + strconv.Itoa(c.Port),
		"unix_socket_directories=", // paths of sockets are limited to 107 bytes; a project's are not
		"max_connections=" + strconv.Itoa(c.options.MaxConnections),
		"logging_collector=off",
		"log_checkpoints=off",
		// Statements and details quote what clients sent: addresses, hashes, free text.
		"log_min_error_statement=panic",
		"log_error_verbosity=terse",
		"timezone=UTC",
		"log_timezone=UTC",
		"jit=off",
	}
	if !c.options.Durable {
		settings = append(settings,
			"fsync=off", "synchronous_commit=off", "full_page_writes=off", "wal_level=minimal", "max_wal_senders=0",
			"max_wal_size=4GB", "checkpoint_timeout=1h", "autovacuum=off",
		)
	}
	args := []string{"-D", filepath.Join(c.Dir, dataDir)}
	for _, s := range append(settings, c.options.Settings...) {
		args = append(args, "-c", s)
	}
	return args
}

// prepare makes the data directory and the password, or reads the password of an existing one.
func (c *Cluster) prepare(ctx context.Context) error {
	data := filepath.Join(c.Dir, dataDir)
	if _, err := os.Stat(data); err == nil {
		password, err := os.ReadFile(filepath.Join(c.Dir, passwordFile))
		if err != nil {
			return fmt.Errorf("read the password of PostgreSQL (remove %s to begin with empty data): %w", c.Dir, err)
		}
		c.password = string(password)
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look at the data of PostgreSQL: %w", err)
	}
	c.password = rand.Text()
	if err := os.WriteFile(filepath.Join(c.Dir, passwordFile), []byte(c.password), 0o600); err != nil {
		return fmt.Errorf("keep the password of PostgreSQL: %w", err)
	}
	return c.initialise(ctx, data)
}

func (c *Cluster) checkOwner() error {
	data := filepath.Join(c.Dir, dataDir)
	info, err := os.Stat(data)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the data of PostgreSQL: %w", err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != c.owner.uid {
		return fmt.Errorf("%s belongs to user id %d, probably because an earlier run was root's: run as root again, or remove "+
			"%s as root to begin with empty data", data, st.Uid, c.Dir)
	}
	return nil
}

// initialise runs initdb beside the final place and renames the result, so that a data directory is always whole.
func (c *Cluster) initialise(ctx context.Context, data string) error {
	fresh := data + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("clear away an unfinished initdb: %w", err)
	}
	password := filepath.Join(c.Dir, "initdb.password")
	defer func() { _ = os.Remove(password) }()
	if err := os.WriteFile(password, []byte(c.password), 0o600); err != nil {
		return fmt.Errorf("write the password for initdb: %w", err)
	}
	if err := c.owner.give(password); err != nil {
		return err
	}
	err := c.initdb(ctx, fresh, password, "C.UTF-8")
	if err != nil { // systems without that locale, such as macOS
		err = c.initdb(ctx, fresh, password, "C")
	}
	if err != nil {
		return err
	}
	if err := os.Rename(fresh, data); err != nil {
		return fmt.Errorf("move the new data of PostgreSQL into place: %w", err)
	}
	return nil
}

func (c *Cluster) initdb(ctx context.Context, data, password, locale string) error {
	if err := errors.Join(os.RemoveAll(data), os.Mkdir(data, 0o700)); err != nil {
		return fmt.Errorf("make the data directory of PostgreSQL: %w", err)
	}
	if err := c.owner.give(data); err != nil {
		return err
	}
	args := []string{
		"--pgdata=" + data, "--username=" + superuser, "--pwfile=" + password, "--auth=scram-sha-256",
		"--encoding=UTF8", "--locale=" + locale, "--no-instructions",
	}
	if !c.options.Durable {
		args = append(args, "--no-sync")
	}
	cmd := exec.CommandContext(ctx, filepath.Join(c.binaries.Dir, "initdb"), args...) //nolint:gosec // our own binary
	cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", environment(), c.owner.procAttr()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

// madeBy is the major version that made the data directory, 0 when there is none yet.
func madeBy(data string) (int, error) {
	v, err := os.ReadFile(filepath.Join(data, "PG_VERSION")) //nolint:gosec // a file of our own data directory
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the version of the data: %w", err)
	}
	return strconv.Atoi(strings.TrimSpace(string(v)))
}

// stopLeftover stops a server that still runs on our data, and removes a pid file whose process is another by now, which
// PostgreSQL would take for a running server.
func (c *Cluster) stopLeftover(ctx context.Context) error {
	data := filepath.Join(c.Dir, dataDir)
	file := filepath.Join(data, "postmaster.pid")
	content, err := os.ReadFile(file) //nolint:gosec // a file of our own data directory
	if err != nil {
		return nil //nolint:nilerr // none is the usual case; what else is wrong the server will say
	}
	first, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || !serves(pid, data) {
		if err := os.Remove(file); err != nil {
			return fmt.Errorf("remove the stale pid file of PostgreSQL: %w", err)
		}
		return nil
	}
	c.options.Logger.WarnContext(ctx, "stopping the PostgreSQL that an earlier run left behind", "pid", pid)
	if err := syscall.Kill(pid, syscall.SIGINT); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop the PostgreSQL (pid %d) that an earlier run left behind: %w", pid, err)
	}
	for range int(stopPatience / (50 * time.Millisecond)) {
		if !serves(pid, data) {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("the PostgreSQL (pid %d) that an earlier run left behind does not stop; kill it and try again", pid)
}

// serves reports whether the process is a server on that data directory.
func serves(pid int, data string) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		line, err = exec.Command("ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output() //nolint:gosec // a number
	}
	return err == nil && bytes.Contains(line, []byte(data)) && bytes.Contains(line, []byte("postgres"))
}

// tail returns the last lines of a log for an error message.
func tail(path string, lines int) string {
	content, err := os.ReadFile(path) //nolint:gosec // a path of ours
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
