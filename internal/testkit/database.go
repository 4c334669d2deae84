//go:build unix

package testkit

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	_ "embed" // audited.sql
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// prepareLimit bounds the making of a template and of a clone together.
const prepareLimit = 2 * time.Minute

// NewDatabase returns the URL of a database that belongs to this test alone and is dropped after it. It is a clone of a
// template that migrate has filled; one template serves all tests, in whatever process, that give the same fingerprint: make
// it from what the migrations say. migrate must close its connections before it returns.
func NewDatabase(t testing.TB, migrate func(ctx context.Context, url string) error, fingerprint string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), prepareLimit)
	defer cancel()
	base, err := serverURL(ctx)
	if err != nil {
		t.Fatalf("no PostgreSQL for this test: %v", err)
	}
	conn, err := pgx.Connect(ctx, base)
	if err != nil {
		t.Fatalf("connect to the PostgreSQL of the tests: %v", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()

	template, err := ensureTemplate(ctx, conn, base, migrate, fingerprint)
	if err != nil {
		t.Fatalf("prepare the template database: %v", err)
	}
	name := "test_" + strings.ToLower(rand.Text())
	if err := clone(ctx, conn, name, template); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dropDatabase(t, base, name) })
	return withDatabase(base, name)
}

// Change breaks something in the database of a test, behind the back of the code under test: the statement must change exactly
// one row.
func Change(t testing.TB, url, statement string, args ...any) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	tag, err := conn.Exec(t.Context(), statement, args...)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	if tag.RowsAffected() != 1 {
		t.Fatalf("%s: changed %d rows", statement, tag.RowsAffected())
	}
}

// ready are the templates that this process knows to be complete.
var ready sync.Map

// ensureTemplate makes the template unless a test of this or another process did. A database is a template only once it is
// whole, so that a killed process leaves nothing half done that looks done.
func ensureTemplate(
	ctx context.Context, conn *pgx.Conn, base string, migrate func(context.Context, string) error, fingerprint string,
) (string, error) {
	sum := sha256.Sum256([]byte(fingerprint + audited))
	name := "template_" + hex.EncodeToString(sum[:8])
	if _, done := ready.Load(name); done {
		return name, nil
	}
	lock := int64(binary.BigEndian.Uint64(sum[:8])) //nolint:gosec // any 64 bits will do
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", lock); err != nil {
		return "", fmt.Errorf("lock: %w", err)
	}
	defer func() { _, _ = conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", lock) }() // else it ends with the connection

	var whole bool
	err := conn.QueryRow(ctx, "SELECT datistemplate FROM pg_database WHERE datname = $1", name).Scan(&whole)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Errorf("look for it: %w", err)
	}
	if !whole {
		if err := makeTemplate(ctx, conn, base, name, migrate); err != nil {
			return "", err
		}
	}
	ready.Store(name, true)
	return name, nil
}

func makeTemplate(
	ctx context.Context, conn *pgx.Conn, base, name string, migrate func(context.Context, string) error,
) error {
	for _, sql := range []string{"DROP DATABASE IF EXISTS " + name + " WITH (FORCE)", "CREATE DATABASE " + name} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	if err := migrate(ctx, withDatabase(base, name)); err != nil {
		return fmt.Errorf("migrate it: %w", err)
	}
	if err := guard(ctx, withDatabase(base, name)); err != nil {
		return fmt.Errorf("guard the audit log: %w", err)
	}
	if _, err := conn.Exec(ctx, "ALTER DATABASE "+name+" WITH IS_TEMPLATE true ALLOW_CONNECTIONS false"); err != nil {
		return fmt.Errorf("mark it whole: %w", err)
	}
	return nil
}

// audited is the guard of the audit log.
//
//go:embed audited.sql
var audited string

// guard makes a database with an audit log refuse changes that are not in it.
func guard(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var has bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass('audit_events') IS NOT NULL").Scan(&has); err != nil || !has {
		return err
	}
	_, err = conn.Exec(ctx, audited)
	return err
}

// clone copies the template. Copying through the WAL took 32 ms where copying files, which asks for checkpoints, took 59.
func clone(ctx context.Context, conn *pgx.Conn, name, template string) error {
	var err error
	for range 20 {
		_, err = conn.Exec(ctx, "CREATE DATABASE "+name+" TEMPLATE "+template+" STRATEGY wal_log")
		var refused *pgconn.PgError
		// 55006: the template's last connection is still closing.
		if !errors.As(err, &refused) || refused.Code != "55006" {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("clone database %s: %w", template, err)
	}
	return nil
}

func dropDatabase(t testing.TB, base, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), prepareLimit)
	defer cancel()
	conn, err := pgx.Connect(ctx, base)
	if err != nil {
		t.Errorf("connect to drop database %s: %v", name, err)
		return
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
		t.Errorf("drop database %s: %v", name, err)
	}
}

// withDatabase is the URL of another database on the same server.
func withDatabase(base, name string) string {
	u, err := url.Parse(base)
	if err != nil {
		return base
	}
	u.Path = "/" + name
	return u.String()
}
