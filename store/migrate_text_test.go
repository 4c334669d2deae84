package store_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	indexed = regexp.MustCompile(`(?i)CREATE\s+(?:UNIQUE\s+)?INDEX\s+(CONCURRENTLY\s+)?(?:IF\s+NOT\s+EXISTS\s+)?\w+\s+ON\s+(\w+)`)
	patient = regexp.MustCompile(`(?i)SET\s+lock_timeout`)
	resumed = regexp.MustCompile(`(?i)RESET\s+lock_timeout;\s*$`)
)

// indexFaults are the tables of older files whose writers an index of this one would hold up.
func indexFaults(text string) (held []string) {
	for _, m := range indexed.FindAllStringSubmatch(text, -1) {
		made := regexp.MustCompile(`(?i)CREATE\s+TABLE\s+` + m[2] + `\b`)
		if m[1] == "" && !made.MatchString(text) {
			held = append(held, m[2])
		}
	}
	return held
}

// No migration builds an index while the writers of its table wait, and none leaves its patience to the files that come after it
// on the same connection (docs/operations.md, "The schema").
func TestMigrationsHoldUpNobody(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("migrations/*.up.sql")
	require.NoError(t, err)
	read := 0
	for _, file := range files {
		if filepath.Base(file) < "20261124" { // the first schema that was deployed anywhere has all before it
			continue
		}
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Empty(t, indexFaults(string(text)), file)
		if patient.Match(text) {
			require.Regexp(t, resumed, string(text), file)
		}
		read++
	}
	require.Positive(t, read)

	require.Equal(t, []string{"a"}, indexFaults("CREATE UNIQUE INDEX i ON a (b)"))
	require.Empty(t, indexFaults("CREATE INDEX CONCURRENTLY i ON a (b)"))
	require.Empty(t, indexFaults("CREATE TABLE a (b int);\nCREATE INDEX i ON a (b)"))
}
