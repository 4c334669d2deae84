//go:build unix

package postgres_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/machine"
	"gatehouse/internal/postgres"
)

// childDir, when set, makes this test binary a process that starts a cluster there and waits to be killed.
const childDir = "GATEHOUSE_TEST_CLUSTER_DIR"

func TestMain(m *testing.M) {
	dir, isChild := os.LookupEnv(childDir)
	if !isChild {
		os.Exit(m.Run())
	}
	c, err := postgres.Start(context.Background(), postgres.Options{Dir: dir})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println(c.Port)
	select {}
}

// newDir is a temporary directory that, unlike t.TempDir, another user can pass through.
func newDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gatehouse-test-") //nolint:usetesting // nobody else can pass through t.TempDir
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func start(t *testing.T, o postgres.Options) *postgres.Cluster {
	t.Helper()
	c, err := postgres.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(c.Kill)
	return c
}

func query(t *testing.T, c *postgres.Cluster, database, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.URL(database))
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	var answer string
	require.NoError(t, conn.QueryRow(t.Context(), sql).Scan(&answer))
	return answer
}

func TestStart_KeepsWhatWasWritten(t *testing.T) {
	t.Parallel()
	dir := newDir(t)

	first := start(t, postgres.Options{Dir: dir, Durable: true})
	require.NoError(t, first.CreateDatabase(t.Context(), "kept"))
	require.NoError(t, first.CreateDatabase(t.Context(), "kept"), "making it again is no error")
	run(t, first, "CREATE TABLE noted AS SELECT 'still here' AS word")
	require.Equal(t, "on", query(t, first, "kept", "SHOW fsync"))
	require.Equal(t, "UTF8", query(t, first, "kept", "SHOW server_encoding"))
	require.NoError(t, first.Stop())

	second := start(t, postgres.Options{Dir: dir, Durable: true})
	require.Equal(t, "still here", query(t, second, "kept", "SELECT word FROM noted"))
	require.NoError(t, second.Stop())
}

func run(t *testing.T, c *postgres.Cluster, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.URL("kept"))
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	_, err = conn.Exec(t.Context(), sql)
	require.NoError(t, err)
}

func TestStart_RefusesAWrongPassword(t *testing.T) {
	t.Parallel()
	c := start(t, postgres.Options{Dir: newDir(t)})

	u := strings.Split(c.URL("postgres"), "@")[1]
	_, err := pgx.Connect(t.Context(), "postgres://gatehouse:guess@"+u)

	require.ErrorContains(t, err, "password authentication failed")
}

func TestStart_NamesTheSettingOfABusyPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()

	taken, ok := l.Addr().(*net.TCPAddr)
	require.True(t, ok)
	_, err = postgres.Start(t.Context(), postgres.Options{Dir: newDir(t), Port: taken.Port})

	require.ErrorIs(t, err, postgres.ErrPortTaken)
	require.ErrorContains(t, err, "GATEHOUSE_POSTGRES_PORT")
}

func TestStart_IgnoresAStalePIDFile(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	first := start(t, postgres.Options{Dir: dir})
	first.Kill()
	// Our own parent is alive and certainly no server on this directory, as after a reboot that gave the number to another.
	file := filepath.Join(first.Dir, "data", "postmaster.pid")
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(content), "\n")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "%d\n%s", os.Getpid(), rest), 0o600))

	second := start(t, postgres.Options{Dir: dir})

	require.Equal(t, "1", query(t, second, "postgres", "SELECT '1'"))
}

func TestStart_MovesOutOfAPrivateDirectoryAsRoot(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root must drop to another user")
	}
	private := filepath.Join(t.TempDir(), "private")
	require.NoError(t, os.Mkdir(private, 0o700))
	wanted := filepath.Join(private, "postgres")

	c := start(t, postgres.Options{Dir: wanted})
	t.Cleanup(func() { c.Kill(); _ = os.RemoveAll(c.Dir) })
	require.NoError(t, c.CreateDatabase(t.Context(), "kept"))
	require.NoError(t, c.Stop())

	require.NotEqual(t, wanted, c.Dir)
	again := start(t, postgres.Options{Dir: wanted})
	require.Equal(t, c.Dir, again.Dir, "the note beside the wanted directory is followed")
	require.Equal(t, "1", query(t, again, "kept", "SELECT '1'"))
}

func TestCluster_DiesWithItsStarter(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	starter := exec.Command(os.Args[0])
	starter.Env = append(os.Environ(), childDir+"="+dir)
	out, err := starter.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, starter.Start())
	port, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	address := "127.0.0.1:" + strings.TrimSpace(port)
	require.Error(t, machine.CanListen(address), "the server listens")

	require.NoError(t, starter.Process.Signal(syscall.SIGKILL))
	_ = starter.Wait()

	require.Eventually(t, func() bool { return machine.CanListen(address) == nil }, 10*time.Second, 20*time.Millisecond)
}
