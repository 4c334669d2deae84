//go:build unix

package stacktest

import (
	"context"
	"os"
	"testing"

	"gatehouse/internal/postgres"
)

// database is the name of the one database of a cluster of its own.
const database = "gatehouse"

// startPostgres makes a cluster of the test's own.
func (s *Stack) startPostgres(ctx context.Context, t testing.TB, o postgres.Options, empty bool) {
	t.Helper()
	if o.Dir == "" {
		o.Dir = NewDir(t)
	}
	o.Durable = true
	// The server crashes here, not the machine under it: what was handed to the operating system is kept.
	o.Settings = append([]string{"fsync=off"}, o.Settings...)
	s.postgres = o
	s.LaunchPostgres(ctx, t, o)
	if err := s.Postgres.CreateDatabase(ctx, database); err != nil {
		t.Fatal(err)
	}
	s.DatabaseURL = s.Postgres.URL(database)
	if empty {
		return
	}
	if err := migrate(ctx, s.DatabaseURL); err != nil {
		t.Fatal(err)
	}
}

// LaunchPostgres starts the cluster that o names, and makes it the stack's.
func (s *Stack) LaunchPostgres(ctx context.Context, t testing.TB, o postgres.Options) {
	t.Helper()
	cluster, err := postgres.Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Kill)
	s.Postgres = cluster
}

// RestartPostgres starts the stack's own cluster again, which the test has stopped, with its data and at its port.
func (s *Stack) RestartPostgres(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startPatience)
	defer cancel()
	o := s.postgres
	o.Port = s.Postgres.Port
	s.LaunchPostgres(ctx, t, o)
}

// DatabaseOf is the URL of the stack's database at another cluster: a standby of its own, or a restored copy.
func DatabaseOf(c *postgres.Cluster) string { return c.URL(database) }

// NewDir is a temporary directory that another user can pass through, unlike t.TempDir.
func NewDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gatehouse-test-cluster-") //nolint:usetesting // nobody else can pass through t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // as root, the server's user must pass through
		t.Fatal(err)
	}
	return dir
}
