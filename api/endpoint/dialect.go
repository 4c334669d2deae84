package endpoint

import (
	"strings"
	"time"

	"gatehouse/account"
)

// Dialect is how one document speaks: what differs between dialects is this value, never code paths.
type Dialect struct {
	// Name is also the name of the dialect's OpenAPI file.
	Name string
	// Prefix is the path under which 404, 405 and the like speak this dialect.
	Prefix string
	// Success renders the body of a success.
	Success func(Reply, any) any
	// Failure renders an error whose fields already carry their wire names.
	Failure func(Reply, *account.Error) any
	// FieldName turns a canonical (snake_case) field name into the wire's.
	FieldName func(string) string
	// InvalidStatus answers account.Invalid; 0 means 422.
	InvalidStatus int
	// AllowKeys takes API keys beside access tokens.
	AllowKeys bool
}

// Reply is what an envelope tells beside the body.
type Reply struct {
	Status    int
	Message   string
	RequestID string
	Time      time.Time
}

// Owns reports whether path belongs to the dialect.
func (d *Dialect) Owns(path string) bool {
	rest, ok := strings.CutPrefix(path, d.Prefix)
	return ok && (rest == "" || rest[0] == '/')
}

// RawError is the error body of documents A, B and C (contract X12). Its members have one word each, so both cases of
// letters share it.
type RawError struct {
	Error   string            `json:"error"`
	Message string            `json:"message"`
	Fields  map[string]string `json:"fields,omitempty"`
}

// Raw is the Success of dialects without an envelope.
func Raw(_ Reply, body any) any { return body }

// RawFailure is the Failure of dialects without an envelope.
func RawFailure(_ Reply, e *account.Error) any {
	return RawError{Error: e.Code, Message: e.Message, Fields: FieldMessages(e)}
}

// FieldMessages maps each field at fault to its first message; nil when there is none.
func FieldMessages(e *account.Error) map[string]string {
	if len(e.Fields) == 0 {
		return nil
	}
	messages := make(map[string]string, len(e.Fields))
	for _, f := range e.Fields {
		if _, told := messages[f.Name]; !told {
			messages[f.Name] = f.Message
		}
	}
	return messages
}

// SnakeCase is the FieldName of snake_case dialects.
func SnakeCase(field string) string { return field }

// CamelCase is the FieldName of camelCase dialects.
func CamelCase(field string) string {
	words := strings.Split(field, "_")
	for i, w := range words[1:] {
		if w != "" {
			words[i+1] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, "")
}

// snakeCase is the inverse of CamelCase; a name in snake_case stays as it is.
func snakeCase(name string) string {
	var b strings.Builder
	for _, r := range name {
		if 'A' <= r && r <= 'Z' {
			b.WriteByte('_')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Stamp is how documents A, B and C write a time: RFC 3339 in UTC, to the second (contract X11).
func Stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// StampOrNil is Stamp of a time that may be absent.
func StampOrNil(t *time.Time) *string {
	if t == nil {
		return nil
	}
	s := Stamp(*t)
	return &s
}
