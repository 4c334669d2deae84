// Command failures says once more, and briefly, which tests have failed and why, from the file of events that gotestsum writes:
//
//	failures [-once regexp] events.jsonl
//
// It comes last in a long log, of which often the end alone is seen. It says nothing of a run without failures. A test that failed
// among others and passed when it was run again, alone, is named apart: the machine may have been too busy for it. Tests of -once
// get no second chance, for a race is lost once: it ends with an error then.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
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
	flags := flag.NewFlagSet("failures", flag.ContinueOnError)
	pattern := flags.String("once", "$^", "tests that have failed even if they have passed since")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("usage: failures [-once regexp] events.jsonl")
	}
	once, err := regexp.Compile(*pattern)
	if err != nil {
		return fmt.Errorf("read -once: %w", err)
	}
	file, err := os.Open(flags.Arg(0))
	if err != nil {
		return fmt.Errorf("open the events: %w", err)
	}
	defer func() { _ = file.Close() }() // only read
	return summarize(file, to, once)
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

var errOnce = errors.New("what may not fail once has failed, and then passed")

// summarize writes the failed tests of from, each with the lines that it wrote itself, and then the names alone. A test is failed,
// too, when one of its subtests is. It returns errOnce when one of once has failed and passed.
func summarize(from io.Reader, to io.Writer, once *regexp.Regexp) error {
	said := map[event][]string{}
	var failed, passed []string
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
			if name := strings.TrimSpace(e.Package + " " + e.Test); slices.Contains(failed, name) {
				failed = slices.DeleteFunc(failed, func(other string) bool { return other == name })
				passed = append(passed, name)
			}
		}
	}
	if err := list(to, "failed among others, passed when run again", passed); err != nil {
		return err
	}
	if err := list(to, "all that failed", failed); err != nil {
		return err
	}
	if slices.ContainsFunc(passed, once.MatchString) {
		return errOnce
	}
	return nil
}

func list(to io.Writer, title string, names []string) error {
	if len(names) == 0 {
		return nil
	}
	if _, err := fmt.Fprintf(to, "%s:\n  %s\n", title, strings.Join(names, "\n  ")); err != nil {
		return fmt.Errorf("write: %w", err)
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
