//go:build unix

package main

import (
	"bytes"
	"testing"

	"github.com/google/pprof/profile"
	"github.com/stretchr/testify/require"
)

func TestReadProfile(t *testing.T) {
	t.Parallel()
	hash := &profile.Function{ID: 1, Name: "golang.org/x/crypto/argon2.IDKey"}
	clear := &profile.Function{ID: 2, Name: "runtime.memclrNoHeapPointers"}
	mark := &profile.Function{ID: 3, Name: "runtime.gcBgMarkWorker"}
	at := func(id uint64, f *profile.Function) *profile.Location {
		return &profile.Location{ID: id, Line: []profile.Line{{Function: f}}}
	}
	inHash, inClear, inMark := at(1, hash), at(2, clear), at(3, mark)
	p := &profile.Profile{
		SampleType: []*profile.ValueType{{Type: "samples", Unit: "count"}, {Type: "cpu", Unit: "nanoseconds"}},
		Function:   []*profile.Function{hash, clear, mark}, Location: []*profile.Location{inHash, inClear, inMark},
		Sample: []*profile.Sample{
			{Location: []*profile.Location{inHash}, Value: []int64{60, 600}},
			{Location: []*profile.Location{inClear, inHash}, Value: []int64{30, 300}},
			{Location: []*profile.Location{inClear}, Value: []int64{4, 40}},
			{Location: []*profile.Location{inClear, inMark}, Value: []int64{6, 60}},
		},
	}
	var written bytes.Buffer
	require.NoError(t, p.Write(&written))
	found, err := readProfile(&written, hashFunctions)
	require.NoError(t, err)
	require.Equal(t, profiled{inside: 900, collecting: 60, all: 1000}, found)
	require.InDelta(t, 0.1, found.besides(), 1e-9)

	_, err = readProfile(bytes.NewReader([]byte("no profile")), hashFunctions)
	require.Error(t, err)
}
