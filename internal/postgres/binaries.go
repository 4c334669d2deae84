//go:build unix

// Package postgres runs a private PostgreSQL cluster from the binaries installed on this machine, for `make run` and for
// tests. It is no part of the product: an installation uses the server that DATABASE_URL names.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
)

// MinVersion is the oldest PostgreSQL that Gatehouse supports.
const MinVersion = 15

// ErrNotFound means that no usable PostgreSQL is installed. Its text tells the three ways to get one.
var ErrNotFound = errors.New("no PostgreSQL " + strconv.Itoa(MinVersion) + ` or newer was found on this machine. Three ways to get one:
  1. Debian or Ubuntu:       apt-get install postgresql   (as root; done for you as root or with passwordless sudo)
  2. macOS or other systems: brew install postgresql@15   (or your package manager's PostgreSQL 15 or newer)
  3. an existing server:     DATABASE_URL=postgres://user:password@host:5432/database make run`)

// Binaries is an installed PostgreSQL.
type Binaries struct {
	// Dir holds initdb and postgres.
	Dir string
	// Major is its major version.
	Major int
}

// places are where packages put the binaries without adding them to PATH.
var places = []string{
	"/usr/lib/postgresql/*/bin",         // Debian
	"/usr/pgsql-*/bin",                  // Red Hat
	"/opt/homebrew/opt/postgresql*/bin", // Homebrew, ARM
	"/usr/local/opt/postgresql*/bin",    // Homebrew, Intel
	"/usr/local/pgsql*/bin",             // built from source
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// Find returns the newest installed PostgreSQL of at least MinVersion, or ErrNotFound.
func Find() (Binaries, error) {
	return find(func(b, best Binaries) bool { return b.Major > best.Major })
}

// findMajor returns an installed PostgreSQL of exactly that major version, which an existing data directory needs.
func findMajor(major int) (Binaries, error) {
	return find(func(b, _ Binaries) bool { return b.Major == major })
}

func find(better func(b, best Binaries) bool) (Binaries, error) {
	var best Binaries
	for _, dir := range candidates() {
		major, err := version(dir)
		if err != nil || major < MinVersion {
			continue
		}
		if b := (Binaries{Dir: dir, Major: major}); better(b, best) {
			best = b
		}
	}
	if best.Dir == "" {
		return Binaries{}, ErrNotFound
	}
	return best, nil
}

func candidates() []string {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	for _, pattern := range places {
		found, _ := filepath.Glob(pattern) // the patterns are constants, which is all that can fail
		dirs = append(dirs, found...)
	}
	return dirs
}

var versionNumber = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

func version(dir string) (int, error) {
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return 0, fmt.Errorf("look for initdb: %w", err)
	}
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output() //nolint:gosec // the program we found
	if err != nil {
		return 0, fmt.Errorf("ask postgres for its version: %w", err)
	}
	m := versionNumber.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("%s/postgres reports no version: %q", dir, out)
	}
	return strconv.Atoi(string(m[1]))
}

// Install installs Debian's postgresql package where that needs no question: apt-get exists and we are root or sudo asks
// for no password. Otherwise it returns ErrNotFound. What apt-get prints goes to progress. The package may make and start a
// cluster of its own on port 5432; Gatehouse neither uses nor touches it.
func Install(ctx context.Context, progress io.Writer) error {
	path, err := exec.LookPath("apt-get")
	if err != nil {
		return ErrNotFound
	}
	run := []string{"env", "DEBIAN_FRONTEND=noninteractive", path}
	if os.Geteuid() != 0 {
		if exec.CommandContext(ctx, "sudo", "-n", "true").Run() != nil {
			return ErrNotFound
		}
		run = append([]string{"sudo", "-n"}, run...)
	}
	apt := func(args ...string) error {
		args = append(run[1:len(run):len(run)], args...)
		cmd := exec.CommandContext(ctx, run[0], args...) //nolint:gosec // a fixed command line
		cmd.Stdout, cmd.Stderr = progress, progress
		return cmd.Run()
	}
	install := func() error { return apt("install", "-y", "--no-install-recommends", "postgresql") }
	if install() == nil {
		return nil
	}
	// A fresh machine has no package lists, or old ones.
	if err := apt("update"); err != nil {
		return fmt.Errorf("apt-get update: %w; %w", err, ErrNotFound)
	}
	if err := install(); err != nil {
		return fmt.Errorf("apt-get install postgresql: %w; %w", err, ErrNotFound)
	}
	return nil
}

// FindOrInstall is Find, and Install when that finds nothing; announce is called before anything is installed.
func FindOrInstall(ctx context.Context, progress io.Writer, announce func()) (Binaries, error) {
	b, err := Find()
	if !errors.Is(err, ErrNotFound) {
		return b, err
	}
	announce()
	if err := Install(ctx, progress); err != nil {
		return Binaries{}, err
	}
	return Find()
}
