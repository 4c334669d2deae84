package endpoint

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"gatehouse/account"
)

// maxDepth is how deeply a body may be nested. No document needs more than five levels.
const maxDepth = 32

// readObject calls member with each name and raw value of a JSON object, in order. The value is valid until member
// returns. Bodies that are not one well-formed object (duplicate names at any depth and bad UTF-8 included) are refused
// before anything of them is believed.
func readObject(body []byte, member func(name string, value jsontext.Value) error) error {
	if nestedDeeper(body, maxDepth) {
		return account.ErrMalformed.Saying("The request body is nested too deeply.")
	}
	if err := eachMember(body, member); err != nil {
		if _, named := errors.AsType[*account.Error](err); named {
			return err
		}
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return account.ErrMalformed.Saying("The request body names a field twice.")
		}
		return account.ErrMalformed.Saying("The request body is not valid JSON.")
	}
	return nil
}

func eachMember(body []byte, member func(name string, value jsontext.Value) error) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(body))
	if d.PeekKind() != '{' {
		if _, err := d.ReadValue(); err != nil {
			return err
		}
		return account.ErrMalformed.Saying("The request body must be a JSON object.")
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		key := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return err
		}
		if err := member(key, value); err != nil {
			return err
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}

// nestedDeeper reports whether any object or array lies deeper than limit; it needs no valid JSON and no recursion.
func nestedDeeper(raw []byte, limit int) bool {
	depth, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > limit {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// holdsNUL reports whether a string anywhere in valid JSON decodes to one with U+0000, which Postgres cannot store.
func holdsNUL(raw []byte) bool {
	for i := 0; i+1 < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		if raw[i+1] == 'u' && bytes.HasPrefix(raw[i+2:], []byte("0000")) {
			return true
		}
		i++
	}
	return false
}

// holdsHugeNumber reports whether valid JSON holds a number whose exponent no double has. Postgres would have to write out
// its digits, and refuses.
func holdsHugeNumber(raw []byte) bool {
	d := jsontext.NewDecoder(bytes.NewBuffer(raw))
	for {
		token, err := d.ReadToken()
		if err != nil {
			return false
		}
		if token.Kind() != '0' {
			continue
		}
		_, exponent, scientific := strings.Cut(strings.ToLower(token.String()), "e")
		if n, err := strconv.Atoi(exponent); scientific && (err != nil || n > maxExponent || n < -maxExponent) {
			return true
		}
	}
}
