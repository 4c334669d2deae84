// Package core holds the operations that a client can ask for, one per documented endpoint: an Input with Validate, then
// one read of the store or one ask of a workflow. It knows no HTTP and no dialect; every dialect calls the same functions.
package core
