package core

import (
	"time"

	"github.com/google/uuid"
)

// OperationInput names a running flow by the id that its start returned.
type OperationInput struct {
	ID string
}

// Operation is where a flow stands, for whoever holds its id (design D16). It names no person and no address.
type Operation struct {
	ID           uuid.UUID
	Kind         string
	Stage        string
	AttemptsLeft int
	ExpiresAt    *time.Time
	Deliveries   []Delivery
}

// Delivery is one message of a flow: how it leaves, and how far it got.
type Delivery struct {
	Channel     string
	State       string
	Attempts    int
	NextRetryAt *time.Time
}
