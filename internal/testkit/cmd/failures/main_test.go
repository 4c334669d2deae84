package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSummarize(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ events, want string }{
		"nothing has failed": {
			`{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: noise\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
`, "",
		},
		"a subtest, and what its parent says": {
			`{"Action":"output","Package":"p","Test":"TestA/b","Output":"=== RUN   TestA/b\n"}
{"Action":"output","Package":"p","Test":"TestA/c","Output":"    a_test.go:2: fine\n"}
{"Action":"output","Package":"p","Test":"TestA/b","Output":"    a_test.go:3: wrong\n"}
{"Action":"output","Package":"p","Test":"TestA/b","Output":"--- FAIL: TestA/b (0.00s)\n"}
{"Action":"fail","Package":"p","Test":"TestA/b"}
{"Action":"pass","Package":"p","Test":"TestA/c"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:4: slow\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    --- PASS: TestA/c (0.00s)\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
`, "failed: p TestA/b\n    a_test.go:3: wrong\nfailed: p TestA\n    a_test.go:4: slow\nall that failed:\n  p TestA/b\n  p TestA\n",
		},
		"a package that does not build": {
			`{"ImportPath":"p [p.test]","Action":"build-output","Output":"p/a.go:1: undefined: b\n"}
{"ImportPath":"p [p.test]","Action":"build-fail"}
{"Action":"fail","Package":"p","FailedBuild":"p [p.test]"}
`, "failed: p\np/a.go:1: undefined: b\nall that failed:\n  p\n",
		},
		"a test of many words": {
			strings.Repeat(`{"Action":"output","Package":"p","Test":"TestA","Output":"x\n"}`+"\n", 1000) + `{"Action":"fail","Package":"p","Test":"TestA"}` + "\n",
			"failed: p TestA\n" + strings.Repeat("x\n", most) + "    ...\n" + strings.Repeat("x\n", most) + "all that failed:\n  p TestA\n",
		},
		"one that passes when it is run again": {
			`{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:3: late\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"fail","Package":"p","Test":"TestB"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"fail","Package":"p","Test":"TestB"}
`, "failed: p TestA\n    a_test.go:3: late\nfailed: p TestB\nfailed: p TestB\n" +
				"failed among others, passed when run again:\n  p TestA\nall that failed:\n  p TestB\n  p TestB\n",
		},
		"the log of a process": {
			`{"Action":"output","Package":"p","Test":"TestA","Output":"    {\"time\":\"1\",\"level\":\"INFO\"}\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    {\"time\":\"2\",\"level\":\"ERROR\"}\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
`, `failed: p TestA
    {"time":"2","level":"ERROR"}
all that failed:
  p TestA
`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got strings.Builder
			require.NoError(t, summarize(strings.NewReader(c.events), &got, regexp.MustCompile(`TestRace`)))
			require.Equal(t, c.want, got.String())
		})
	}
	require.ErrorContains(t, summarize(strings.NewReader("no JSON\n"), &strings.Builder{}, nil), "read an event")
	lost := `{"Action":"fail","Package":"p","Test":"TestRaceA/b"}` + "\n" + `{"Action":"pass","Package":"p","Test":"TestRaceA/b"}` + "\n"
	require.ErrorIs(t, summarize(strings.NewReader(lost), &strings.Builder{}, regexp.MustCompile(`TestRace`)), errOnce)
}
