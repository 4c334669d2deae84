// Package casebook knows which attacks, faults and invariants the suites must show, collects what tests report of them,
// and prints the outcome: case by case, with how often each was tried.
package casebook

import (
	_ "embed"
	"fmt"
	"slices"

	"gopkg.in/yaml.v3"
)

//go:embed book.yaml
var source []byte

// The suites of the book.
const (
	Attacks    = "attacks"
	Faults     = "faults"
	Invariants = "invariants"
)

// Case is a row of the book.
type Case struct {
	// ID is what tests and documents call it, such as OTP-02.
	ID string `yaml:"id"`
	// Tried says in a line what is done, or for an invariant what must hold.
	Tried string `yaml:"tried"`
	// Elsewhere says why no test of this repository can show it; empty where one must.
	Elsewhere string `yaml:"elsewhere"`
}

// Book is the cases by suite.
type Book map[string][]Case

// Read returns the book. It fails on a case without text and on an id that is there twice.
func Read() (Book, error) {
	var book Book
	if err := yaml.Unmarshal(source, &book); err != nil {
		return nil, fmt.Errorf("book of cases: %w", err)
	}
	seen := map[string]bool{}
	for _, suite := range book {
		for _, c := range suite {
			if c.ID == "" || c.Tried == "" || seen[c.ID] {
				return nil, fmt.Errorf("book of cases: %q has no text, or is there twice", c.ID)
			}
			seen[c.ID] = true
		}
	}
	return book, nil
}

// Has reports whether the book has a case.
func (b Book) Has(id string) bool {
	for _, suite := range b {
		if slices.ContainsFunc(suite, func(c Case) bool { return c.ID == id }) {
			return true
		}
	}
	return false
}
