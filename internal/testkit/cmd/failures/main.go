// Command failures says once more, and briefly, which tests have failed and why, from the file of events that gotestsum writes:
//
//	failures events.jsonl
//
// It comes last in a long log, of which often the end alone is seen. It says nothing of a run without failures.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// most is how many of the first lines of one test are shown, and how many of the last.
const most = 15

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "failures:", err)
		os.Exit(1)
	}
}

func run(args []string, to io.Writer) error {
	if len(args) != 1 {
		return errors.New("usage: failures events.jsonl")
	}
	file, err := os.Open(args[0]) //nolint:gosec // what our own script names
	if err != nil {
		return fmt.Errorf("open the events: %w", err)
	}
	defer func() { _ = file.Close() }() // only read
	return summarize(file, to)
}

// event is a line of what `go tool test2json` writes.
//
//nolint:tagliatelle // Go's names
type event struct {
	Action  string `json:"Action"`
	Package string `json:"Package"`
	Test    string `json:"Test"`
	Output  string `json:"Output"`
	// ImportPath is what a build says something of, FailedBuild the build for which a package could not be tested.
	ImportPath  string `json:"ImportPath"`
	FailedBuild string `json:"FailedBuild"`
}

// summarize writes the failed tests of from, each with the lines that it wrote itself, and then the names alone. A test is failed,
// too, when one of its subtests is.
func summarize(from io.Reader, to io.Writer) error {
	said := map[event][]string{}
	var failed []string
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the events: %w", err)
		}
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("read an event: %w", err)
		}
		of := event{Package: e.Package, Test: e.Test}
		switch e.Action {
		case "output":
			if worth(e.Output) {
				said[of] = append(said[of], e.Output)
			}
		case "build-output":
			build := event{Package: e.ImportPath}
			said[build] = append(said[build], e.Output)
		case "fail":
			said[of] = append(said[event{Package: e.FailedBuild}], said[of]...)
			name := strings.TrimSpace(e.Package + " " + e.Test)
			failed = append(failed, name)
			if _, err := fmt.Fprintf(to, "failed: %s\n%s", name, strings.Join(ends(said[of]), "")); err != nil {
				return fmt.Errorf("write: %w", err)
			}
			delete(said, of)
		case "pass", "skip":
			delete(said, of)
		}
	}
	if len(failed) > 0 {
		if _, err := fmt.Fprintf(to, "all that failed:\n  %s\n", strings.Join(failed, "\n  ")); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}

func ends(lines []string) []string {
	if len(lines) <= 2*most {
		return lines
	}
	return slices.Concat(lines[:most], []string{"    ...\n"}, lines[len(lines)-most:])
}

// worth leaves out what go test says of each test by itself, and the logs of our processes unless something went wrong in them.
func worth(output string) bool {
	text := strings.TrimSpace(output)
	if strings.HasPrefix(text, `{"time":`) {
		return strings.Contains(text, `"level":"ERROR"`)
	}
	return text != "" && !strings.HasPrefix(text, "=== ") && !strings.HasPrefix(text, "--- ")
}
