package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
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
func (r row) ScanRow(rows pgx.Rows) error { return r.fill(rows.RawValues()) }

// fill keeps nothing of values. All texts of a row are one piece of memory, and so are the pointers to them.
func (r row) fill(values [][]byte) error {
	if len(values) != len(r) {
		return fmt.Errorf("%d columns for %d targets: %w", len(values), len(r), errRow)
	}
	size, pointers := 0, 0
	for i, value := range values {
		switch r[i].(type) {
		case **string:
			if value != nil {
				size, pointers = size+len(value), pointers+1
			}
		case *string:
			size += len(value)
		}
	}
	t := rowTexts{pointers: make([]string, 0, pointers)}
	t.all.Grow(size)
	for i, value := range values {
		if !t.decode(value, r[i]) {
			return fmt.Errorf("column %d for a %T: %w", i, r[i], errRow)
		}
	}
	return nil
}

// rowTexts are the texts of a row. There is room for all of them before the first is read.
type rowTexts struct {
	all      strings.Builder
	pointers []string
}

func (t *rowTexts) text(value []byte) string {
	from := t.all.Len()
	t.all.Write(value)
	return t.all.String()[from:]
}

// decode reports whether value, nil for NULL, could be read into target.
func (t *rowTexts) decode(value []byte, target any) bool {
	switch to := target.(type) {
	case *string:
		if value != nil {
			*to = t.text(value)
		}
		return value != nil
	case **string:
		*to = nil
		if value != nil {
			t.pointers = append(t.pointers, t.text(value))
			*to = &t.pointers[len(t.pointers)-1]
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
	case *[]byte:
		*to = bytes.Clone(value)
		return true
	}
	return value != nil && decodeValue(value, target)
}

func decodeValue(value []byte, target any) bool {
	ok := true
	switch to := target.(type) {
	case *account.SessionState:
		*to = account.SessionState(value)
	case *account.SubscriptionStatus:
		*to = account.SubscriptionStatus(value)
	case *bool:
		*to, ok = len(value) == 1 && value[0] != 0, len(value) == 1
	case *int32:
		if ok = len(value) == 4; ok {
			*to = int32(binary.BigEndian.Uint32(value)) //nolint:gosec // the wire has two's complement
		}
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
