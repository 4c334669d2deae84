package account

import "time"

// SandboxMethod is a test payment method that a payer of the sandbox has made its own.
type SandboxMethod struct {
	ID       string
	Customer string
	// TestID is what it was made of, such as pm_card_visa.
	TestID string
}

// SandboxCharge is a line in the sandbox's ledger.
type SandboxCharge struct {
	ID        string
	Key       string
	InvoiceID string
	Customer  string
	MethodID  string
	Amount    Money
	// DeclineCode is why it was refused, empty for a charge that succeeds.
	DeclineCode string
	CreatedAt   time.Time
	// Processing charges are settled after Settles, which counts from now.
	Settles time.Duration
}

// SandboxFault is something that goes wrong with charges in the sandbox.
type SandboxFault struct {
	Kind SandboxFaultKind
	// TestID and KeyPrefix say which charges: those of one test id, and those whose key begins so. Empty means all.
	TestID    string
	KeyPrefix string
	// Code is that of a decline.
	Code string
	// Delay is how long the kind takes.
	Delay time.Duration
	// Times is how many charges go wrong.
	Times int
}

// SandboxFaultKind is what goes wrong.
type SandboxFaultKind string

// The kinds.
const (
	// SandboxDown charges nothing and fails.
	SandboxDown SandboxFaultKind = "down"
	// SandboxWait charges after Delay, SandboxSlow charges and answers after Delay.
	SandboxWait SandboxFaultKind = "wait"
	SandboxSlow SandboxFaultKind = "slow"
	// SandboxLost charges, and fails after Delay: nobody learns that it worked.
	SandboxLost SandboxFaultKind = "lost"
	// SandboxDecline declines with Code.
	SandboxDecline SandboxFaultKind = "decline"
	// SandboxProcessing leaves the outcome open for Delay.
	SandboxProcessing SandboxFaultKind = "processing"
)
