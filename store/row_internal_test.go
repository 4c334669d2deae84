package store

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

func decode(value []byte, target any) bool { return row{target}.fill([][]byte{value}) == nil }

// What the driver writes, decode reads.
func TestDecode_ReadsWhatTheDriverWrites(t *testing.T) {
	t.Parallel()
	types, id, at := pgtype.NewMap(), uuid.New(), time.Date(1999, time.December, 31, 23, 59, 59, 123456000, time.UTC)
	decoded := func(oid uint32, value, into any) {
		t.Helper()
		wire, err := types.Encode(oid, pgtype.BinaryFormatCode, value, []byte{})
		require.NoError(t, err)
		require.True(t, decode(wire, into), "%v", value)
	}
	var p struct {
		text    string
		maybe   *string
		state   account.SessionState
		yes     bool
		small   int32
		number  int64
		id      uuid.UUID
		maybeID *uuid.UUID
		at      time.Time
		maybeAt *time.Time
		roles   []string
		none    []string
		scopes  []account.Scope
	}
	decoded(pgtype.TextOID, "é", &p.text)
	decoded(pgtype.TextOID, "", &p.maybe)
	decoded(pgtype.TextOID, "pending", &p.state)
	decoded(pgtype.BoolOID, true, &p.yes)
	decoded(pgtype.Int4OID, int32(-6), &p.small)
	decoded(pgtype.Int8OID, int64(-7), &p.number)
	decoded(pgtype.UUIDOID, pgtype.UUID{Bytes: id, Valid: true}, &p.id)
	decoded(pgtype.UUIDOID, pgtype.UUID{Bytes: id, Valid: true}, &p.maybeID)
	decoded(pgtype.TimestamptzOID, at, &p.at)
	decoded(pgtype.TimestamptzOID, at, &p.maybeAt)
	decoded(pgtype.TextArrayOID, []string{"user", "", "admin"}, &p.roles)
	decoded(pgtype.TextArrayOID, []string{}, &p.none)
	decoded(pgtype.TextArrayOID, []string{"account:read"}, &p.scopes)
	require.Equal(t, "é", p.text)
	require.Empty(t, *p.maybe)
	require.Equal(t, account.SessionPending, p.state)
	require.True(t, p.yes)
	require.EqualValues(t, -6, p.small)
	require.EqualValues(t, -7, p.number)
	require.Equal(t, []uuid.UUID{id, id}, []uuid.UUID{p.id, *p.maybeID})
	require.Equal(t, []time.Time{at, at}, []time.Time{p.at, *p.maybeAt})
	require.Equal(t, []string{"user", "", "admin"}, p.roles)
	require.Equal(t, []string{}, p.none)
	require.Equal(t, []account.Scope{"account:read"}, p.scopes)

	require.True(t, decode(nil, &p.maybe) && decode(nil, &p.maybeID) && decode(nil, &p.maybeAt))
	require.Nil(t, p.maybe)
	require.Nil(t, p.maybeID)
	require.Nil(t, p.maybeAt)
}

// NULL where none may be, and bytes of another form, are errors and never a panic.
func TestDecode_RefusesOtherForms(t *testing.T) {
	t.Parallel()
	targets := map[string]any{
		"bool": new(bool), "int32": new(int32), "int64": new(int64), "uuid": new(uuid.UUID), "time": new(time.Time), "texts": new([]string),
		"maybe uuid": new(*uuid.UUID), "maybe time": new(*time.Time), "unknown": new(float64),
	}
	for name, target := range targets {
		for _, wire := range [][]byte{
			{},
			{1, 2},
			make([]byte, 7), make([]byte, 9), make([]byte, 17),
			{0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 25},
			{0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 25, 0, 0, 0, 1, 0, 0, 0, 1},
			{0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 25, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 9},
			{0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 25, 0, 0, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff},
		} {
			require.False(t, decode(wire, target), "%s of %v", name, wire)
		}
	}
	for _, target := range []any{new(string), new(bool), new(uuid.UUID), new([]string)} {
		require.False(t, decode(nil, target))
	}
}
