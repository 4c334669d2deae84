//go:build unix

package postgres

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// owner is the system user that the server runs as: us, unless we are root, whom PostgreSQL refuses.
type owner struct {
	uid, gid int
	drop     bool
}

// findOwner decides the owner of a cluster at dir. As root, an existing data directory keeps the user it has.
func findOwner(dir string) (owner, error) {
	if uid := os.Geteuid(); uid != 0 {
		return owner{uid: uid, gid: os.Getegid()}, nil
	}
	if info, err := os.Stat(filepath.Join(dir, dataDir)); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
			return owner{uid: int(st.Uid), gid: int(st.Gid), drop: true}, nil
		}
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err := errors.Join(err1, err2); err != nil {
			return owner{}, fmt.Errorf("read the ids of user %s: %w", name, err)
		}
		return owner{uid: uid, gid: gid, drop: true}, nil
	}
	return owner{}, errors.New("PostgreSQL cannot run as root, and there is neither a user postgres nor nobody to run it as")
}

// procAttr makes a child run as the owner.
func (o owner) procAttr() *syscall.SysProcAttr {
	if !o.drop {
		return &syscall.SysProcAttr{}
	}
	//nolint:gosec // ids come from the password database
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(o.uid), Gid: uint32(o.gid)}}
}

// give hands a path that we made to the owner.
func (o owner) give(path string) error {
	if !o.drop {
		return nil
	}
	if err := os.Chown(path, o.uid, o.gid); err != nil {
		return fmt.Errorf("hand %s to the user of PostgreSQL: %w", path, err)
	}
	return nil
}

// canReach reports whether the owner may pass through every directory above path.
func (o owner) canReach(path string) bool {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err == nil && !o.canEnter(info) {
			return false
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}

func (o owner) canEnter(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	switch {
	case int(st.Uid) == o.uid:
		return info.Mode()&0o100 != 0
	case int(st.Gid) == o.gid:
		return info.Mode()&0o010 != 0
	default:
		return info.Mode()&0o001 != 0
	}
}

// locationFile stands in the wanted directory and names the one in use.
const locationFile = "location"

// place makes and returns the directory to use for a cluster wanted at dir. When we are root and the server's user cannot
// reach dir, as below /root, that is a directory of the system's temporary ones, noted in dir/location.
func (o owner) place(dir string, durable bool) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the server's user must pass through
		return "", fmt.Errorf("make the directory of PostgreSQL: %w", err)
	}
	if !o.drop || o.canReach(filepath.Join(dir, dataDir)) {
		return dir, nil
	}
	note := filepath.Join(dir, locationFile)
	if elsewhere, err := os.ReadFile(note); err == nil { //nolint:gosec // a file of our own data directory
		moved := strings.TrimSpace(string(elsewhere))
		return moved, makeOwn(moved)
	}
	moved, err := o.elsewhere(dir, durable)
	if err != nil {
		return "", err
	}
	if err := makeOwn(moved); err != nil {
		return "", err
	}
	if err := os.WriteFile(note, []byte(moved+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("note where PostgreSQL keeps its data: %w", err)
	}
	return moved, nil
}

func (o owner) elsewhere(dir string, durable bool) (string, error) {
	sum := sha256.Sum256([]byte(dir))
	name := "gatehouse-postgres-" + hex.EncodeToString(sum[:6])
	bases := []string{os.TempDir(), "/tmp", "/var/tmp"}
	if durable {
		bases = []string{"/var/tmp", os.TempDir(), "/tmp"} // /var/tmp outlives a reboot
	}
	for _, base := range bases {
		if _, err := os.Stat(base); err == nil && o.canReach(filepath.Join(base, name, dataDir)) {
			return filepath.Join(base, name), nil
		}
	}
	return "", fmt.Errorf("user id %d, which PostgreSQL runs as because we are root, can reach neither %s nor a temporary directory; "+
		"move the project or set GATEHOUSE_DATA_DIR to a directory that it can pass through", o.uid, dir)
}

// makeOwn makes dir in a place where others can write, and refuses one that somebody else put there.
func makeOwn(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) { //nolint:gosec // the server's user must pass through
		return fmt.Errorf("make the directory of PostgreSQL: %w", err)
	}
	info, err := os.Lstat(dir) //nolint:gosec // the directory just made
	if err != nil {
		return fmt.Errorf("look at the directory of PostgreSQL: %w", err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || !ok || int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s is not a directory of ours; remove it and try again", dir)
	}
	return nil
}
