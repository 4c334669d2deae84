package secret

import (
	"crypto/sha256"
	"sync"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// verified is what remains to be checked of a token whose form and signature were good: its claims, every time anew.
type verified struct {
	session uuid.UUID
	claims  jwt.RegisteredClaims
}

// verifiedTokens remembers tokens whose signature was checked, by their hash, because checking it costs more than all else
// in a read. Strangers cannot push anything out: only good tokens get in.
type verifiedTokens struct {
	mu sync.Mutex
	// older is what recent was when it was last full; whatever is still in use moves over.
	recent, older map[[sha256.Size]byte]*verified
}

// verifiedLimit is the most that each of the two maps holds, at about 500 bytes a token.
const verifiedLimit = 4096

func (v *verifiedTokens) find(key [sha256.Size]byte) (*verified, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if known, ok := v.recent[key]; ok {
		return known, true
	}
	known, ok := v.older[key]
	if ok {
		v.put(key, known)
	}
	return known, ok
}

func (v *verifiedTokens) keep(key [sha256.Size]byte, token *verified) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.put(key, token)
}

func (v *verifiedTokens) put(key [sha256.Size]byte, token *verified) {
	if len(v.recent) >= verifiedLimit || v.recent == nil {
		v.recent, v.older = make(map[[sha256.Size]byte]*verified), v.recent
	}
	v.recent[key] = token
}
