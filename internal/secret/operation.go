package secret

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

// The ids of operations that no row stands for, or not yet, are UUIDs of version 8 that prove themselves: four bits of kind, a
// moment, random bits, and 40 bits of a keyed hash over these and the owner. So an id can be told from a guessed one while its
// flow waits for a worker, and two ids look alike of which one is about nobody.
const (
	operationVersion  = 0x80
	operationMoment   = 4 // bytes: seconds since 1970
	operationMAC      = 11
	operationVersions = 6
	operationVariant  = 8
)

// operationKinds are the kinds in the order of their numbers in ids: new ones go last. The blind ones tell by the clock alone.
var operationKinds = []OperationKind{
	{account.FlowPassword, false},
	{account.FlowProviderLink, false},
	{account.FlowClosure, false},
	{account.FlowSignup, true},
	{account.FlowPassword, true},
}

// OperationKind is what an operation is about. A blind one says no more than the clock does, to anybody: whether there is
// anything behind it is what must not be told (security.md ENU).
type OperationKind struct {
	Flow  account.FlowKind
	Blind bool
}

// OperationID returns a fresh id of an operation, that of an account or, with the zero id, of whoever holds it. Under a seed
// it is the same each time, and has no moment. It panics on a kind that no id can have.
func (k *Keys) OperationID(kind OperationKind, owner uuid.UUID, seed string, now time.Time) uuid.UUID {
	var id uuid.UUID
	if seed == "" {
		_, _ = rand.Read(id[:])                                              // crypto/rand never fails: it ends the process instead
		binary.BigEndian.PutUint32(id[:operationMoment], uint32(now.Unix())) //nolint:gosec // until the year 2106
	} else {
		hash := sha256.Sum256([]byte(seed))
		copy(id[operationMoment:], hash[:])
	}
	number := -1
	for i, one := range operationKinds {
		if one == kind {
			number = i
		}
	}
	if number < 0 {
		panic("secret: no operation is of kind " + string(kind.Flow))
	}
	id[operationVersions] = operationVersion | byte(number)
	id[operationVariant] = id[operationVariant]&0x3f | 0x80
	copy(id[operationMAC:], k.operationMAC(id, owner))
	return id
}

// Operation returns the kind and the moment of an id that OperationID made for an owner; the moment is zero under a seed.
func (k *Keys) Operation(id, owner uuid.UUID) (kind OperationKind, at time.Time, ok bool) {
	number := int(id[operationVersions] & 0x0f)
	if id[operationVersions]&0xf0 != operationVersion || number >= len(operationKinds) ||
		subtle.ConstantTimeCompare(id[operationMAC:], k.operationMAC(id, owner)) != 1 {
		return OperationKind{}, time.Time{}, false
	}
	if seconds := binary.BigEndian.Uint32(id[:operationMoment]); seconds > 0 {
		at = time.Unix(int64(seconds), 0).UTC()
	}
	return operationKinds[number], at, true
}

func (k *Keys) operationMAC(id, owner uuid.UUID) []byte {
	return mac(k.identifier, "operation", owner.String(), string(id[:operationMAC]))[:len(id)-operationMAC]
}
