//go:build unix

package testkit_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func exec(ctx context.Context, url, sql string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, sql)
	return err
}

func TestNewDatabase_ClonesAreSeparateAndMigratedOnce(t *testing.T) {
	t.Parallel()
	var migrations atomic.Int32
	migrate := func(ctx context.Context, url string) error {
		migrations.Add(1)
		return exec(ctx, url, "CREATE TABLE thing (id int PRIMARY KEY)")
	}
	fingerprint := t.Name() + time.Now().String()

	urls := make([]string, 8)
	var all sync.WaitGroup
	for i := range urls {
		all.Go(func() {
			urls[i] = testkit.NewDatabase(t, migrate, fingerprint)
			if err := exec(t.Context(), urls[i], "INSERT INTO thing VALUES (1)"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()

	require.Equal(t, int32(1), migrations.Load())
	slices.Sort(urls)
	require.Len(t, slices.Compact(urls), 8)
}

func TestNewDatabase_IsDroppedAfterTheTestWithConnectionsOpen(t *testing.T) {
	t.Parallel()
	var url string
	t.Run("user", func(t *testing.T) {
		url = testkit.NewDatabase(t, func(context.Context, string) error { return nil }, "empty")
		_, err := pgx.Connect(t.Context(), url)
		require.NoError(t, err)
	})

	require.ErrorContains(t, exec(t.Context(), url, "SELECT 1"), "does not exist")
}

func BenchmarkNewDatabase(b *testing.B) {
	files, err := filepath.Glob("../../store/migrations/*.up.sql")
	require.NoError(b, err)
	migrate := func(ctx context.Context, url string) error {
		for _, file := range files {
			sql, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			if err := exec(ctx, url, string(sql)); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
		}
		return nil
	}
	testkit.NewDatabase(b, migrate, strings.Join(files, ""))
	for b.Loop() {
		testkit.NewDatabase(b, migrate, strings.Join(files, ""))
	}
}
