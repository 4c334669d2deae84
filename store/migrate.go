package store

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/migrate"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrationLock is the advisory lock that lets one migrator run at a time; it dies with its connection.
const migrationLock = 7264091132

// Migrations returns the embedded migrations.
func Migrations() (*migrate.Migrations, error) {
	m := migrate.NewMigrations()
	if err := m.Discover(migrationFiles); err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	return m, nil
}

// MigrationFingerprint changes whenever a migration does; it names template databases in tests.
func MigrationFingerprint() string {
	h := sha256.New()
	_ = fs.WalkDir(migrationFiles, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := migrationFiles.ReadFile(path)
		h.Write([]byte(path))
		h.Write(text)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// lockTries is how often a migration asks for a lock that somebody holds.
const lockTries = 30

// Migrate brings the schema up to date and returns the names of the migrations it applied. Two migrators wait for each
// other; a failing file is rolled back and stays unapplied. Open the store without a statement timeout for it, and with a lock
// timeout where others use the database: a file that does not get its lock in time is tried again after as long a pause, 30
// times at most.
func (s *Store) Migrate(ctx context.Context) ([]string, error) {
	var applied []string
	err := s.migrating(ctx, markApplied, func(m *migrate.Migrator) error {
		for try := 1; ; try++ {
			names, err := up(ctx, m)
			applied = append(applied, names...)
			if refused, ok := errors.AsType[*pgconn.PgError](err); !ok || refused.Code != lockNotAvailable || try == lockTries {
				return err
			}
			select {
			case <-ctx.Done():
				return err
			case <-time.After(s.lockTimeout):
			}
		}
	})
	return applied, err
}

// lockNotAvailable is what Postgres says when a lock was not to be had in time.
const lockNotAvailable = "55P03"

// up applies what is left, and returns what it applied.
func up(ctx context.Context, m *migrate.Migrator) (applied []string, err error) {
	group, err := m.Migrate(ctx)
	if group == nil {
		return nil, err
	}
	if n := len(group.Migrations); err != nil && n > 0 {
		group.Migrations = group.Migrations[:n-1] // the last one is the one that failed
	}
	for _, one := range group.Migrations {
		applied = append(applied, one.Name+"_"+one.Comment)
	}
	return applied, err
}

// noSuchTable is what Postgres says of a table that is not there.
const noSuchTable = "42P01"

// MissingMigrations names the migrations that this build knows and the database has not had: all of them, when it was never
// migrated. What the database has beyond them does not count, for a newer schema serves an older build (docs/operations.md).
func (s *Store) MissingMigrations(ctx context.Context) ([]string, error) {
	known, err := Migrations()
	if err != nil {
		return nil, err
	}
	var applied []string
	err = s.db.NewRaw("SELECT name FROM bun_migrations").Scan(ctx, &applied)
	if refused, ok := errors.AsType[*pgconn.PgError](err); err != nil && (!ok || refused.Code != noSuchTable) {
		return nil, fmt.Errorf("read the migrations that were applied: %w", translate(err))
	}
	var missing []string
	for _, m := range known.Sorted() {
		if !slices.Contains(applied, m.Name) {
			missing = append(missing, m.Name+"_"+m.Comment)
		}
	}
	return missing, nil
}

// Rollback takes back the newest group of migrations.
func (s *Store) Rollback(ctx context.Context) error {
	return s.migrating(ctx, markUnapplied, func(m *migrate.Migrator) error {
		_, err := m.Rollback(ctx)
		return err
	})
}

// markApplied writes that a migration was applied into the transaction of its file, for bun does so after it: one that was killed
// in between could not go on. What a file without a transaction does must be fit to be done twice.
func markApplied(ctx context.Context, db bun.IConn, m *migrate.Migration) error {
	_, err := db.ExecContext(ctx, "INSERT INTO bun_migrations (name, group_id) VALUES (?, ?)", m.Name, m.GroupID)
	return err
}

func markUnapplied(ctx context.Context, db bun.IConn, m *migrate.Migration) error {
	_, err := db.ExecContext(ctx, "DELETE FROM bun_migrations WHERE name = ?", m.Name)
	return err
}

func (s *Store) migrating(ctx context.Context, mark migrate.MigrationHook, fn func(*migrate.Migrator) error) error {
	migrations, err := Migrations()
	if err != nil {
		return err
	}
	// Not from the pool: those who wait for the lock must not hold the connections that its holder needs.
	waiting := s.pool.Config().ConnConfig
	delete(waiting.RuntimeParams, lockTimeoutParam) // another migrator may take its time
	conn, err := pgx.ConnectConfig(ctx, waiting)
	if err != nil {
		return fmt.Errorf("connect to migrate: %w", translate(err))
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // and the lock with it
	if err := lockMigrations(ctx, conn); err != nil {
		return fmt.Errorf("wait for another migrator: %w", translate(err))
	}
	m := migrate.NewMigrator(s.bun, migrations, migrate.WithMarkAppliedOnSuccess(true), migrate.WithUpsert(true), migrate.AfterMigration(mark))
	if err := m.Init(ctx); err != nil {
		return fmt.Errorf("prepare the migrations table: %w", translate(err))
	}
	if err := fn(m); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// lockPause is how long a migrator waits before it asks again whether another one is done.
const lockPause = 100 * time.Millisecond

// lockMigrations asks again and again instead of once and waiting: a statement that waits is a transaction that runs, for whose
// end an index that the other migrator builds concurrently would wait, for ever.
func lockMigrations(ctx context.Context, conn *pgx.Conn) error {
	for {
		var locked bool
		if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", int64(migrationLock)).Scan(&locked); err != nil || locked {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockPause):
		}
	}
}
