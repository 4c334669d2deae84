package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/account"
)

// row decodes a row of Postgres' binary formats into its pointers, as Scan would. The driver plans each column of each row anew,
// which is most of what a read of fifty columns costs this process; the types here are those of the hot reads.
type row []any

var errRow = errors.New("a column is not of the form that its target wants")

// ScanRow implements pgx.RowScanner.
func (r row) ScanRow(rows pgx.Rows) error {
	values := rows.RawValues()
	if len(values) != len(r) {
		return fmt.Errorf("%d columns for %d targets: %w", len(values), len(r), errRow)
	}
	for i, value := range values {
		if !decode(value, r[i]) {
			return fmt.Errorf("column %s: %w", rows.FieldDescriptions()[i].Name, errRow)
		}
	}
	return nil
}

// decode reports whether value, nil for NULL, could be read into target. It keeps nothing of value.
func decode(value []byte, target any) bool {
	switch to := target.(type) {
	case **string:
		*to = nil
		if value != nil {
			text := string(value)
			*to = &text
		}
		return true
	case **time.Time:
		*to = nil
		if value == nil {
			return true
		}
		at, ok := timestamp(value)
		*to = &at
		return ok
	case **uuid.UUID:
		*to = nil
		if value == nil {
			return true
		}
		*to = new(uuid.UUID)
		return copy((*to)[:], value) == len(value) && len(value) == len(*to)
	}
	return value != nil && decodeValue(value, target)
}

func decodeValue(value []byte, target any) bool {
	ok := true
	switch to := target.(type) {
	case *string:
		*to = string(value)
	case *account.SessionState:
		*to = account.SessionState(value)
	case *account.SubscriptionStatus:
		*to = account.SubscriptionStatus(value)
	case *bool:
		*to, ok = len(value) == 1 && value[0] != 0, len(value) == 1
	case *int64:
		if ok = len(value) == 8; ok {
			*to = int64(binary.BigEndian.Uint64(value)) //nolint:gosec // the wire has two's complement
		}
	case *uuid.UUID:
		ok = len(value) == len(to) && copy(to[:], value) == len(value)
	case *time.Time:
		*to, ok = timestamp(value)
	case *[]string:
		*to, ok = texts[string](value)
	case *[]account.Scope:
		*to, ok = texts[account.Scope](value)
	default:
		ok = false
	}
	return ok
}

// postgresEpoch is what Postgres counts its microseconds from.
var postgresEpoch = time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

func timestamp(value []byte) (time.Time, bool) {
	if len(value) != 8 {
		return time.Time{}, false
	}
	return time.UnixMicro(int64(binary.BigEndian.Uint64(value)) + postgresEpoch).UTC(), true //nolint:gosec // two's complement
}

// texts decodes an array of texts of one dimension without NULLs.
func texts[T ~string](value []byte) ([]T, bool) {
	const header, bounds = 12, 8
	if len(value) < header {
		return nil, false
	}
	switch binary.BigEndian.Uint32(value) {
	case 0:
		return []T{}, len(value) == header
	case 1:
	default:
		return nil, false
	}
	if len(value) < header+bounds {
		return nil, false
	}
	n := binary.BigEndian.Uint32(value[header:])
	rest := value[header+bounds:]
	all := make([]T, 0, min(int(n), len(rest)/4))
	for range n {
		if len(rest) < 4 {
			return nil, false
		}
		size := int32(binary.BigEndian.Uint32(rest)) //nolint:gosec // -1 says NULL
		rest = rest[4:]
		if size < 0 || int(size) > len(rest) {
			return nil, false
		}
		all, rest = append(all, T(rest[:size])), rest[size:]
	}
	return all, len(rest) == 0
}
