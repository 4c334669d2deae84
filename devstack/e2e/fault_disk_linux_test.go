package e2e_test

import (
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/postgres"
	"gatehouse/internal/testkit"
)

// F-20, I-14: the disk of the database is full, first for tables, then for its write-ahead log, too. Once there is space again,
// all goes on by itself; a server that has given up is started again, as its supervisor would.
func TestFault_F20_I14_DiskFull(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, "size=160m")
	s := breakable(t, stacktest.Options{OwnPostgres: &postgres.Options{Dir: dir, Settings: []string{"max_wal_size=64MB", "min_wal_size=32MB"}}})
	_, token, ended := s.stays(t)
	ballast := filepath.Join(dir, "ballast")
	s.withstand(t, fault{
		strike: func() { fill(t, ballast) },
		meanwhile: func() {
			s.want(t, http.StatusOK, call{Path: pathMe, Token: token}) // what needs no space goes on
			url := stacktest.DatabaseOf(s.stack.Postgres)
			testkit.Eventually(t, patience, func() bool { return !writes(t, url) }, "the log to need space")
			outage(t)
			for _, c := range []call{
				{Path: pathMe, Token: token},
				{Path: pathMe, Token: ended},
				{Method: http.MethodPatch, Path: pathMe, Token: token, Body: fields{"full_name": "No Space"}},
			} {
				got := s.send(t, c)
				require.Contains(t, []int{http.StatusOK, http.StatusUnauthorized, http.StatusServiceUnavailable}, got.Status, "%s", got.Body)
				require.False(t, c.Token == ended && got.ok())
			}
		},
		heal: func() {
			require.NoError(t, os.Remove(ballast))
			select {
			case <-s.stack.Postgres.Done():
				s.stack.RestartPostgres(t)
			default:
			}
			s.requireBack(t, patience, token, ended)
		},
	})
}

// smallDisk is a file system of its own.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := stacktest.NewDir(t)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755,"+options); err != nil {
		t.Skipf("a disk that can be full needs root: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fill leaves no byte free on the file system of a new file.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	for _, piece := range []int{1 << 20, 4 << 10} {
		for zeros := make([]byte, piece); err == nil; {
			_, err = f.Write(zeros)
		}
		require.ErrorIs(t, err, syscall.ENOSPC)
		err = nil
	}
	require.NoError(t, f.Close())
}

// writes has the server begin a new file of its log, which takes 16 MB, and tells whether it could.
func writes(t *testing.T, url string) bool {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close(t.Context()) }()
	_, err = conn.Exec(t.Context(), `SELECT pg_logical_emit_message(true, 'f20', repeat('x', 1000000)), pg_switch_wal()`)
	return err == nil
}
