//go:build unix

package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// message is one of the protocol of Postgres.
func message(kind byte, body string) string {
	head := []byte{kind, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(head[1:], uint32(4+len(body)))
	return string(head) + body
}

func TestRecorderUnderstandsWhatTravels(t *testing.T) {
	t.Parallel()
	sent := "\x00\x00\x00\x08\x00\x03\x00\x00" + // the message that opens
		message('Q', "begin\x00") +
		message('P', "s1\x00SELECT $1\x00\x00\x01\x00\x00\x00\x19") + message('D', "Ss1\x00") + message('S', "") +
		message('B', "\x00s1\x00\x00\x01\x00\x01\x00\x02\x00\x00\x00\x03abc\xff\xff\xff\xff\x00\x00") + message('E', "\x00\x00\x00\x00\x00") +
		message('S', "")
	r := &recorder{}
	c := &conversation{recorder: r, prepared: map[string]parsed{}}
	var passed bytes.Buffer
	// Each read brings one message, as if the client waited between them.
	require.ErrorIs(t, c.listen(bufio.NewReader(iotest{strings.NewReader(sent)}), &passed), io.EOF)
	require.Equal(t, sent, passed.String(), "everything is passed on as it came")
	require.Equal(t, 2, r.count())
	found := r.take()
	require.Equal(t, []statement{
		{sql: "begin"},
		{sql: "SELECT $1", types: []uint32{25}, formats: []int16{1}, values: [][]byte{[]byte("abc"), nil}},
	}, found.statements, "preparing is no execution")
	require.Equal(t, 3, found.roundTrips)
	require.Zero(t, r.count(), "what was taken is gone")

	all := &recorder{}
	c = &conversation{recorder: all, prepared: map[string]parsed{}}
	require.ErrorIs(t, c.listen(bufio.NewReader(strings.NewReader(sent)), io.Discard), io.EOF)
	require.Equal(t, 1, all.take().roundTrips, "what is sent together is waited for once")
	require.NotPanics(t, func() { c.hear('B', fields{rest: []byte("\x00\x00\x00\x09")}, false) }, "a cut message")
}

// iotest returns one byte with each read, so that nothing more is buffered than what is asked for.
type iotest struct{ from io.Reader }

func (o iotest) Read(p []byte) (int, error) { return o.from.Read(p[:1]) }

func TestStatementsOfOneShape(t *testing.T) {
	t.Parallel()
	one := statement{sql: "SELECT a1 FROM t2\n WHERE id = 'it''s' AND n IN (1, 2.5) AND m = $1"}
	require.Equal(t, "SELECT a1 FROM t2 WHERE id = ? AND n IN (?, ...) AND m = $1", one.shape())
	other := statement{sql: "SELECT a1 FROM t2 WHERE id = 'other' AND n IN (7, 8, 9) AND m = $1"}
	require.Equal(t, one.shape(), other.shape())
}

func TestPlansAreRead(t *testing.T) {
	t.Parallel()
	var node planNode
	require.NoError(t, json.Unmarshal([]byte(`{"Node Type": "Limit", "Plans": [{"Node Type": "Seq Scan", "Relation Name": "accounts"},
		{"Node Type": "Index Scan", "Index Name": "i", "Relation Name": "sessions"}]}`), &node))
	all := node.all()
	require.Len(t, all, 3)
	require.Equal(t, seqScan, all[1].Type)
	require.Equal(t, "accounts", all[1].Relation)
	require.Equal(t, "i", all[2].Index)
}

func TestHeapIsReadFromMetrics(t *testing.T) {
	t.Parallel()
	h, err := readHeap(strings.NewReader("# HELP x\ngo_memstats_mallocs_total 1.5e+06\ngo_memstats_alloc_bytes_total 2e+09\n"))
	require.NoError(t, err)
	require.Equal(t, heap{1.5e6, 2e9}, h)
	_, err = readHeap(strings.NewReader("other 1\n"))
	require.ErrorIs(t, err, errNoMetric)
}

func TestPartsAreChosen(t *testing.T) {
	t.Parallel()
	parts := []*part{{key: "a"}, {key: "b"}}
	got, err := chosen(parts, "b")
	require.NoError(t, err)
	require.Equal(t, parts[1:], got)
	_, err = chosen(parts, "c")
	require.ErrorContains(t, err, "there are: a, b")
}
