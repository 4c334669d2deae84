package account

import (
	_ "embed"
	"strings"
	"sync"
)

// The common passwords of 8 and more characters, lower-case, from @zxcvbn-ts/language-common 4.1.3 (MIT); shorter ones
// are refused for their length.
//
//go:embed common_passwords.txt
var commonPasswordList string

var commonPasswords = sync.OnceValue(func() map[string]struct{} {
	words := strings.Fields(commonPasswordList)
	set := make(map[string]struct{}, len(words))
	for _, w := range words {
		set[w] = struct{}{}
	}
	return set
})

func commonPassword(p string) bool {
	_, found := commonPasswords()[strings.ToLower(p)]
	return found
}
