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
	at := func(id uint64, f *profile.Function) *profile.Location {
		return &profile.Location{ID: id, Line: []profile.Line{{Function: f}}}
	}
	inHash, inClear := at(1, hash), at(2, clear)
	p := &profile.Profile{
		SampleType: []*profile.ValueType{{Type: "samples", Unit: "count"}, {Type: "cpu", Unit: "nanoseconds"}},
		Function:   []*profile.Function{hash, clear}, Location: []*profile.Location{inHash, inClear},
		Sample: []*profile.Sample{
			{Location: []*profile.Location{inHash}, Value: []int64{60, 600}},
			{Location: []*profile.Location{inClear, inHash}, Value: []int64{30, 300}},
			{Location: []*profile.Location{inClear}, Value: []int64{10, 100}},
		},
	}
	var written bytes.Buffer
	require.NoError(t, p.Write(&written))
	found, err := readProfile(&written, hashFunctions)
	require.NoError(t, err)
	require.Equal(t, profiled{inside: 900, all: 1000}, found)
	require.InDelta(t, 0.1, found.besides(), 1e-9)

	_, err = readProfile(bytes.NewReader([]byte("no profile")), hashFunctions)
	require.Error(t, err)
}
