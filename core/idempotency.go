package core

// Answer is what a request under an Idempotency-Key was answered, kept for its repetitions.
type Answer struct {
	Status int
	Body   []byte
}
