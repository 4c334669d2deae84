package ops

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
)

// Check is one thing that health depends on. It must heed ctx.
type Check func(ctx context.Context) error

// failure is one named check and why it failed.
type failure struct {
	name  string
	cause error
}

type failures []failure

func (f failures) Error() string {
	said := make([]string, len(f))
	for i, one := range f {
		said[i] = one.name + ": " + one.cause.Error()
	}
	return strings.Join(said, "; ")
}

// All runs the named checks at once; its failure tells which of them failed. A check that does not answer in time has
// failed.
func All(checks map[string]Check) Check {
	return func(ctx context.Context) error {
		outcomes := make(chan failure, len(checks))
		for name, check := range checks {
			go func() { outcomes <- failure{name, check(ctx)} }()
		}
		open := maps.Clone(checks)
		var failed failures
		for len(open) > 0 {
			select {
			case o := <-outcomes:
				delete(open, o.name)
				if o.cause != nil {
					failed = append(failed, o)
				}
			case <-ctx.Done():
				for name := range open {
					failed = append(failed, failure{name, ctx.Err()})
				}
				clear(open)
			}
		}
		if len(failed) == 0 {
			return nil
		}
		slices.SortFunc(failed, func(a, b failure) int { return strings.Compare(a.name, b.name) })
		return failed
	}
}

// run returns the failures of check, under its own name unless it knows better.
func run(ctx context.Context, name string, check Check) failures {
	if check == nil {
		return nil
	}
	err := check(ctx)
	if err == nil {
		return nil
	}
	if several, ok := errors.AsType[failures](err); ok {
		return several
	}
	return failures{{name, err}}
}
