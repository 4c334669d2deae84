//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/pprof/profile"
)

var errNoSample = errors.New("a profile without samples")

// profiled is what a process spent its time on, by samples: inside of what was asked for, on the collector's own goroutines, and
// in all.
type profiled struct {
	inside, collecting, all time.Duration
}

// besides is the share of the time that was not spent inside.
func (p profiled) besides() float64 { return 1 - p.share(p.inside) }

func (p profiled) share(spent time.Duration) float64 { return float64(spent) / float64(max(p.all, 1)) }

func (p *profiled) add(other profiled) {
	p.inside, p.collecting, p.all = p.inside+other.inside, p.collecting+other.collecting, p.all+other.all
}

// profileOf samples a server for d, at least a second; inside is what functions whose names begin so spent, and what they called.
func profileOf(ctx context.Context, s *server, d time.Duration, functions string) (profiled, error) {
	seconds := max(1, int(d.Seconds()))
	url := "http://" + s.ops + "/debug/pprof/profile?seconds=" + strconv.Itoa(seconds)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return profiled{}, err
	}
	answer, err := (&http.Client{Timeout: d + patience}).Do(request)
	if err != nil {
		return profiled{}, fmt.Errorf("profile: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	return readProfile(answer.Body, functions)
}

func readProfile(from io.Reader, functions string) (profiled, error) {
	read, err := profile.Parse(from)
	if err != nil {
		return profiled{}, fmt.Errorf("read a profile: %w", err)
	}
	var out profiled
	for _, s := range read.Sample {
		spent := time.Duration(s.Value[len(s.Value)-1]) // the first value counts samples, the last is their time in ns
		out.all += spent
		switch {
		case calledBy(s, functions):
			out.inside += spent
		case calledBy(s, "runtime.gcBgMarkWorker"), calledBy(s, "runtime.bgsweep"), calledBy(s, "runtime.bgscavenge"):
			out.collecting += spent
		}
	}
	if out.all == 0 {
		return out, errNoSample
	}
	return out, nil
}

// calledBy says whether a function whose name begins so is on the stack of a sample.
func calledBy(s *profile.Sample, function string) bool {
	return slices.ContainsFunc(s.Location, func(at *profile.Location) bool {
		return slices.ContainsFunc(at.Line, func(l profile.Line) bool {
			return l.Function != nil && strings.HasPrefix(l.Function.Name, function)
		})
	})
}
