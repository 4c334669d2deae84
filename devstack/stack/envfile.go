//go:build unix

package stack

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// computedMark begins the line of an environment file that lists what nobody set: a later run computes these anew although
// a shell that sourced the file hands them in.
const computedMark = "# computed: "

// EnvFile is the environment of a running system, as `$GATEHOUSE_DATA_DIR/env` holds it.
type EnvFile struct {
	// Values are all settings by name.
	Values map[string]string
	// Computed names those of Values that were not set by the user.
	Computed []string
}

// WriteEnvFile writes the file in shell syntax, readable by its owner only, at once as a whole.
func WriteEnvFile(path string, f EnvFile) error {
	var b strings.Builder
	b.WriteString("# The running system's settings. Use them in a shell: set -a; . " + quote(path) + "; set +a\n")
	if len(f.Computed) > 0 {
		b.WriteString(computedMark + strings.Join(slices.Sorted(slices.Values(f.Computed)), " ") + "\n")
	}
	for _, name := range slices.Sorted(maps.Keys(f.Values)) {
		b.WriteString(name + "=" + quote(f.Values[name]) + "\n")
	}
	unfinished, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = unfinished.WriteString(b.String())
	err = errors.Join(err, unfinished.Sync(), unfinished.Close())
	if err == nil {
		err = os.Rename(unfinished.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(unfinished.Name()))
	}
	return nil
}

// quote makes one word of the shell out of any text.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// ReadEnvFile reads what WriteEnvFile wrote. A missing file is an empty one.
func ReadEnvFile(path string) (EnvFile, error) {
	f := EnvFile{Values: map[string]string{}}
	content, err := os.ReadFile(path) //nolint:gosec // a path of ours
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, fmt.Errorf("read %s: %w", path, err)
	}
	rest := string(content)
	for rest != "" {
		if strings.HasPrefix(rest, "#") {
			line, after, _ := strings.Cut(rest, "\n")
			if names, ok := strings.CutPrefix(line, computedMark); ok {
				f.Computed = strings.Fields(names)
			}
			rest = after
			continue
		}
		name, after, ok := strings.Cut(rest, "='")
		if !ok {
			return f, fmt.Errorf("read %s: %q is not NAME='value'", path, firstLine(rest))
		}
		value, after, ok := cutQuoted(after)
		if !ok {
			return f, fmt.Errorf("read %s: the value of %s does not end", path, name)
		}
		f.Values[name] = value
		rest = strings.TrimLeft(after, "\n")
	}
	return f, nil
}

// cutQuoted reads up to the closing quote of a text whose opening one is already read.
func cutQuoted(s string) (value, rest string, ok bool) {
	var b strings.Builder
	for {
		part, after, found := strings.Cut(s, "'")
		if !found {
			return "", "", false
		}
		b.WriteString(part)
		next, escaped := strings.CutPrefix(after, `\''`)
		if !escaped {
			return b.String(), after, true
		}
		b.WriteByte('\'')
		s = next
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	name, _, _ := strings.Cut(line, "=") // a value may be a secret
	return name
}
