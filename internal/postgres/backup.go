//go:build unix

package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Backup copies the running cluster to dir, where Start finds it as it was: what a standby or a restore begins with. The cluster
// must be a durable one. dir must be one that the server's user can reach.
func (c *Cluster) Backup(ctx context.Context, dir string) error {
	if moved, err := c.owner.place(dir, c.options.Durable); err != nil {
		return err
	} else if moved != dir {
		return fmt.Errorf("the user of PostgreSQL cannot reach %s", dir)
	}
	data := filepath.Join(dir, dataDir)
	if err := errors.Join(os.Mkdir(data, 0o700), c.owner.give(data)); err != nil {
		return fmt.Errorf("make the directory of the backup: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, passwordFile), []byte(c.password), 0o600); err != nil {
		return fmt.Errorf("keep the password of the backup: %w", err)
	}
	args := []string{"--pgdata=" + data, "--dbname=" + c.URL("postgres"), "--checkpoint=fast", "--wal-method=stream", "--no-sync"}
	cmd := exec.CommandContext(ctx, filepath.Join(c.binaries.Dir, "pg_basebackup"), args...) //nolint:gosec // our own binary
	cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", environment(), c.owner.procAttr()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_basebackup: %w\n%s", err, out)
	}
	return nil
}

// Signal puts an empty file beside the data of a stopped cluster at dir: "standby.signal" has it follow the server that
// primary_conninfo names, "recovery.signal" has it recover from an archive.
func Signal(dir, name string) error {
	path := filepath.Join(dir, dataDir, name)
	if err := os.WriteFile(path, nil, 0o644); err != nil { //nolint:gosec // the server's user reads and removes it
		return fmt.Errorf("tell PostgreSQL how to start: %w", err)
	}
	return nil
}
