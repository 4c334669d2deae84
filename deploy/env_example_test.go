package deploy_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write .env.example anew")

const exampleHead = `# Every setting with its default and what it is for; ` + "`gatehouse config`" + ` lists them and checks the environment.
# Written from the settings' own comments by ` + "`make env-example`" + `; a test keeps it true.
`

// TestEnvExample keeps .env.example equal to the settings: names, defaults and words.
func TestEnvExample(t *testing.T) {
	t.Parallel()
	want := exampleHead + exampleOf(productSettings(t)) +
		"\n# The rest is read by `make run` alone, which derives the addresses above from it where they are not set.\n" +
		exampleOf(stackSettings(t))
	if *update {
		require.NoError(t, os.WriteFile(filepath.Join(root, ".env.example"), []byte(want), 0o600))
	}
	require.Equal(t, want, readRoot(t, ".env.example"), "run `make env-example`")
}

// TestSettingsAreFound guards the reading of the source: a handful of settings of each kind must be among the found ones.
func TestSettingsAreFound(t *testing.T) {
	t.Parallel()
	product, stack := names(productSettings(t)), names(stackSettings(t))
	for _, name := range []string{"DATABASE_URL", "GATEHOUSE_API_ADDR", "GATEHOUSE_SMTP_HOST", "GATEHOUSE_CODE_TTL"} {
		require.True(t, product[name], name)
	}
	require.True(t, stack["GATEHOUSE_DATA_DIR"])
	require.False(t, stack["GATEHOUSE_API_ADDR"], "it is the product's")
}

func exampleOf(settings []setting) string {
	var b strings.Builder
	for _, s := range settings {
		if s.doc != "" {
			b.WriteString("\n")
			for line := range strings.Lines(s.doc) {
				b.WriteString("# " + line)
			}
		}
		b.WriteString(s.name + "=" + shellWord(s.value) + "\n")
	}
	return b.String()
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:,@%+-]*$`)

// shellWord quotes a value so that the file can be sourced by a shell and read by docker compose.
func shellWord(value string) string {
	if plainWord.MatchString(value) {
		return value
	}
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}
