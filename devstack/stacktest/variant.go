//go:build unix

package stacktest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// variants build the binaries that are no gatehouse of this source, each once, by name.
var variants = struct {
	sync.Mutex
	builds map[string]func() (string, error)
}{builds: map[string]func() (string, error){}}

// once returns what build has returned the first time under a name.
func once(name string, build func() (string, error)) (string, error) {
	variants.Lock()
	if variants.builds[name] == nil {
		variants.builds[name] = sync.OnceValues(build)
	}
	kept := variants.builds[name]
	variants.Unlock()
	return kept()
}

// BuildVariant builds gatehouse from the source with some files replaced or added, and returns the path of the binary. files
// says what becomes of the text of each, by its path in the module; that of a file that does not exist is empty. A name is built
// once for all tests of a process.
func BuildVariant(t testing.TB, name string, files map[string]func(text string) string) string {
	t.Helper()
	path, err := once(name, func() (string, error) { return buildVariant(name, files) })
	if err != nil {
		t.Fatalf("build the variant %s: %v", name, err)
	}
	return path
}

func buildVariant(name string, files map[string]func(text string) string) (string, error) {
	shared.Lock()
	dir, err := sharedDir()
	shared.Unlock()
	if err != nil {
		return "", err
	}
	root, err := sourceRoot()
	if err != nil {
		return "", err
	}
	replaced := map[string]string{}
	for path, change := range files {
		original, err := os.ReadFile(filepath.Join(root, path)) //nolint:gosec // a file of the source
		if err != nil && !os.IsNotExist(err) {
			return "", err
		}
		changed := change(string(original))
		if changed == string(original) {
			return "", fmt.Errorf("it does not change %s: has the place moved that it changes?", path)
		}
		replacement := filepath.Join(dir, name+"-"+strings.ReplaceAll(path, "/", "-"))
		if err := os.WriteFile(replacement, []byte(changed), 0o600); err != nil {
			return "", err
		}
		replaced[filepath.Join(root, path)] = replacement
	}
	content, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return "", err
	}
	list, binary := filepath.Join(dir, name+".json"), filepath.Join(dir, "gatehouse-"+name)
	if err := os.WriteFile(list, content, 0o600); err != nil {
		return "", err
	}
	return binary, buildIn(root, binary, "-overlay", list)
}

// BuildBefore builds gatehouse as it was before the newest migration was added, and returns the path of the binary and the commit.
// A commit never changes, so the binary is kept in bin/before for later runs: to build it takes minutes beside other tests, for it
// shares no compiled package with the source of today. It skips the test where the source has no such history: an export, or a
// clone without it.
func BuildBefore(t testing.TB) (binary, commit string) {
	t.Helper()
	root, err := sourceRoot()
	if err != nil {
		t.Fatal(err)
	}
	commit, err = commitBefore(root)
	if err != nil {
		t.Skipf("no history to build an earlier gatehouse from: %v", err)
	}
	binary, err = once(commit, func() (string, error) {
		name := strings.Join([]string{"gatehouse", commit, runtime.Version(), runtime.GOOS, runtime.GOARCH}, "-")
		return keep(filepath.Join(root, "bin", "before"), name, func(binary string) error { return buildCommit(root, commit, binary) })
	})
	if err != nil {
		t.Fatalf("build gatehouse as of %s: %v", commit, err)
	}
	return binary, commit
}

func commitBefore(root string) (string, error) {
	files, err := filepath.Glob(filepath.Join(root, "store", "migrations", "*.up.sql"))
	if err != nil || len(files) == 0 {
		return "", fmt.Errorf("no migrations in %s: %w", root, err)
	}
	newest, _, _ := strings.Cut(filepath.Base(slices.Max(files)), "_")
	// The first of them brought it; others may have given its files other names.
	added, err := git(root, "log", "--reverse", "--diff-filter=A", "--format=%H", "--", "store/migrations/"+newest+"_*")
	if err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(added, "\n")
	if first == "" {
		return "", fmt.Errorf("no commit has added migration %s", newest)
	}
	return git(root, "rev-parse", "--verify", "--quiet", first+"^")
}

func git(dir string, args ...string) (string, error) {
	// The folder may belong to somebody else than who runs the tests.
	cmd := exec.Command("git", append([]string{"-c", "safe.directory=*", "-C", dir}, args...)...) //nolint:gosec // fixed arguments
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

// keep returns the path of the file of a name in dir, which build makes where no run before has. What else is there is of former
// commits, and goes then.
func keep(dir, name string, build func(path string) error) (string, error) {
	kept := filepath.Join(dir, name)
	if _, err := os.Stat(kept); err == nil {
		return kept, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", err
	}
	making := kept + ".making" // a run may be stopped at any moment
	if err := build(making); err != nil {
		return "", err
	}
	return kept, os.Rename(making, kept)
}

func buildCommit(root, commit, binary string) error {
	shared.Lock()
	dir, err := sharedDir()
	shared.Unlock()
	if err != nil {
		return err
	}
	source := filepath.Join(dir, commit)
	if err := os.Mkdir(source, 0o700); err != nil {
		return err
	}
	archive := filepath.Join(dir, commit+".tar")
	if _, err := git(root, "archive", "--output", archive, commit); err != nil {
		return err
	}
	if out, err := exec.Command("tar", "-xf", archive, "-C", source).CombinedOutput(); err != nil { //nolint:gosec // our own paths
		return fmt.Errorf("unpack: %w: %s", err, out)
	}
	return buildIn(source, binary)
}

// Using returns a stack that is the same but for the binary whose processes it starts.
func (s *Stack) Using(binary string) *Stack {
	other := *s
	other.binary = binary
	return &other
}
