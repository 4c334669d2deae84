package account

// FlowKind is what a flow is about, as owners read it in its operation and operators in the search attribute of that name.
type FlowKind string

// The kinds of flows that somebody waits for.
const (
	FlowSignup       FlowKind = "signup"
	FlowPassword     FlowKind = "password"
	FlowPhone        FlowKind = "phone"
	FlowEmailChange  FlowKind = "email_change"
	FlowEmailLink    FlowKind = "email_link"
	FlowDevice       FlowKind = "device"
	FlowProviderLink FlowKind = "provider_link"
	FlowClosure      FlowKind = "closure"
	FlowSubscription FlowKind = "subscription"
)

// FlowStage is where a flow stands, by the same names everywhere. The stages of a subscription are its SubscriptionStatus.
type FlowStage string

// The stages. StagePending is before the flow has done anything that can be seen; the others are those of the search attribute.
const (
	StagePending          FlowStage = "pending"
	StageAwaitingProof    FlowStage = "awaiting_proof"
	StageAwaitingProvider FlowStage = "awaiting_provider"
	StageGrace            FlowStage = "grace"
	StageErasing          FlowStage = "erasing"
	StageCompleted        FlowStage = "completed"
	StageExpired          FlowStage = "expired"
	StageUndone           FlowStage = "undone"
)

// Ended reports whether a stage is an outcome: nothing follows.
func (s FlowStage) Ended() bool {
	return s == StageCompleted || s == StageExpired || s == StageUndone || SubscriptionStatus(s).Ended()
}

// Begun takes the id of the operation that a request has begun or joined (design D16).
type Begun struct {
	Operation string
}

// Begin tells whoever asks which operation the request has begun or joined, whatever its answer will be.
func (c Caller) Begin(operation string) {
	if c.Begun != nil {
		c.Begun.Operation = operation
	}
}
