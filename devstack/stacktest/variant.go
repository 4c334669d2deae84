//go:build unix

package stacktest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// variants are the paths of the binaries that BuildVariant has built, by name.
var variants sync.Map

// BuildVariant builds gatehouse from the source with some files replaced or added, and returns the path of the binary. files
// says what becomes of the text of each, by its path in the module; that of a file that does not exist is empty. A name is built
// once for all tests of a process.
func BuildVariant(t testing.TB, name string, files map[string]func(text string) string) string {
	t.Helper()
	build, _ := variants.LoadOrStore(name, sync.OnceValues(func() (string, error) { return buildVariant(name, files) }))
	path, err := build.(func() (string, error))() //nolint:revive // only such are stored
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
	var overlay struct{ Replace map[string]string }
	overlay.Replace = map[string]string{}
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
		overlay.Replace[filepath.Join(root, path)] = replacement
	}
	content, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	list, binary := filepath.Join(dir, name+".json"), filepath.Join(dir, "gatehouse-"+name)
	if err := os.WriteFile(list, content, 0o600); err != nil {
		return "", err
	}
	return binary, buildIn(root, binary, "-overlay", list)
}

// Using returns a stack that is the same but for the binary whose processes it starts.
func (s *Stack) Using(binary string) *Stack {
	other := *s
	other.binary = binary
	return &other
}
