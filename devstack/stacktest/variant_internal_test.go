//go:build unix

package stacktest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKeep(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "bin", "before")
	built := 0
	build := func(path string) error {
		built++
		return os.WriteFile(path, []byte("a binary"), 0o600)
	}
	fault := errors.New("it does not compile")
	_, err := keep(dir, "a", func(path string) error { return errors.Join(build(path), fault) })
	require.ErrorIs(t, err, fault)
	for range 2 {
		path, err := keep(dir, "a", build)
		require.NoError(t, err)
		require.FileExists(t, path)
	}
	require.Equal(t, 2, built, "what has failed is not kept, what has not is")
	_, err = keep(dir, "b", build)
	require.NoError(t, err)
	require.Equal(t, 3, built)
	require.NoFileExists(t, filepath.Join(dir, "a"))
}
