// Command casebook prints what tests have reported of a suite's cases, and fails unless every case was shown:
//
//	casebook -results FILE [-document FILE] [-commit ID] attacks|faults|invariants...
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	"gatehouse/devstack/casebook"
)

func main() {
	results := flag.String("results", "", "the file that tests have written with -casebook")
	document := flag.String("document", "", "a document to write the tables into, between the marks of each suite")
	commit := flag.String("commit", "", "what was played, for the document")
	flag.Parse()
	if err := run(*results, *document, *commit, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "casebook:", err)
		os.Exit(1)
	}
}

func run(results, document, commit string, suites []string) error {
	book, err := casebook.Read()
	if err != nil {
		return err
	}
	file, err := os.Open(results) //nolint:gosec // the developer names the file
	if err != nil {
		return fmt.Errorf("results of cases: %w", err)
	}
	all, err := casebook.ReadResults(file)
	_ = file.Close() // read only
	if err != nil {
		return err
	}
	bad := 0
	for _, suite := range suites {
		if len(book[suite]) == 0 {
			return fmt.Errorf("the book has no suite %q", suite)
		}
		lines := book.Judge(suite, all)
		if err := casebook.Print(os.Stdout, suite, lines); err != nil {
			return err
		}
		for _, l := range lines {
			if !l.Shown() {
				bad++
			}
		}
		if err := write(document, suite, commit, lines); err != nil {
			return err
		}
	}
	if bad > 0 {
		return errors.New("some cases failed or were not shown")
	}
	return nil
}

func write(document, suite, commit string, lines []casebook.Line) error {
	if document == "" {
		return nil
	}
	content, err := os.ReadFile(document) //nolint:gosec // the developer names the file
	if err != nil {
		return fmt.Errorf("document of cases: %w", err)
	}
	changed, err := casebook.Replace(string(content), suite, casebook.Markdown(lines, commit))
	if err != nil {
		return err
	}
	if err := os.WriteFile(document, []byte(changed), 0o600); err != nil { //nolint:gosec // it exists, and keeps its mode
		return fmt.Errorf("document of cases: %w", err)
	}
	return nil
}
