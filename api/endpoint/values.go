package endpoint

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// The bounds of input values (contract C06: device_fingerprint and attribution).
const (
	maxString      = 10_000
	maxObject      = 4096
	maxObjectDepth = 3
	maxStrings     = 32
	maxList        = 32
	maxExponent    = 308
)

// Object is a free JSON object of the client's choice: at most 4 kB and three levels deep.
type Object = json.RawMessage

// Strings is a free JSON object whose values are strings; at most 32 of them.
type Strings = map[string]string

// List is a JSON array of strings; at most 32 of them.
type List = []string

// setter stores a raw JSON value, or returns why it cannot, as a sentence for the field's fault.
type setter func(field reflect.Value, raw jsontext.Value) (fault string)

var setters = map[reflect.Type]setter{
	reflect.TypeFor[string]():  setString,
	reflect.TypeFor[*string](): optional(setString),
	reflect.TypeFor[bool]():    setBool,
	reflect.TypeFor[*bool]():   optional(setBool),
	reflect.TypeFor[int64]():   setInt,
	reflect.TypeFor[*int64]():  optional(setInt),
	reflect.TypeFor[Object]():  setObject,
	reflect.TypeFor[Strings](): setStrings,
	reflect.TypeFor[List]():    setList,
}

// parsers fill a field from outside of the body, where every value is text.
var parsers = map[reflect.Type]func(field reflect.Value, value string) (fault string){
	reflect.TypeFor[string]():  parseString,
	reflect.TypeFor[*string](): parseOptionalString,
	reflect.TypeFor[*int64]():  parseOptionalInt,
}

func parseString(field reflect.Value, value string) string {
	field.SetString(value)
	return ""
}

func parseOptionalString(field reflect.Value, value string) string {
	field.Set(reflect.ValueOf(&value))
	return ""
}

func parseOptionalInt(field reflect.Value, value string) string {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return "must be an integer"
	}
	field.Set(reflect.ValueOf(&n))
	return ""
}

func optional(set setter) setter {
	return func(field reflect.Value, raw jsontext.Value) string {
		value := reflect.New(field.Type().Elem())
		fault := set(value.Elem(), raw)
		if fault == "" {
			field.Set(value)
		}
		return fault
	}
}

func setString(field reflect.Value, raw jsontext.Value) string {
	s, fault := text(raw)
	if fault == "" {
		field.SetString(s)
	}
	return fault
}

func text(raw jsontext.Value) (s, fault string) {
	if raw.Kind() != '"' {
		return "", "must be a string"
	}
	unquoted, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		return "", "must be a string"
	}
	return string(unquoted), textFault(unquoted)
}

func textFault(s []byte) string {
	switch {
	case len(s) > maxString:
		return "must be at most 10000 bytes"
	case bytes.IndexByte(s, 0) >= 0:
		return "must not contain NUL"
	}
	return ""
}

func setBool(field reflect.Value, raw jsontext.Value) string {
	if k := raw.Kind(); k != 't' && k != 'f' {
		return "must be a boolean"
	}
	field.SetBool(raw.Kind() == 't')
	return ""
}

func setInt(field reflect.Value, raw jsontext.Value) string {
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if raw.Kind() != '0' || err != nil {
		return "must be an integer"
	}
	field.SetInt(n)
	return ""
}

func setObject(field reflect.Value, raw jsontext.Value) string {
	switch {
	case raw.Kind() != '{':
		return "must be an object"
	case len(raw) > maxObject:
		return "must be at most 4096 bytes"
	case nestedDeeper(raw, maxObjectDepth):
		return "must not be nested more than 3 levels deep"
	case holdsNUL(raw):
		return "must not contain NUL"
	case holdsHugeNumber(raw):
		return "must not hold exponents beyond 308"
	}
	field.SetBytes(bytes.Clone(raw))
	return ""
}

func setStrings(field reflect.Value, raw jsontext.Value) string {
	if raw.Kind() != '{' {
		return "must be an object"
	}
	values, fault := Strings{}, ""
	err := eachMember(raw, func(name string, value jsontext.Value) error {
		if value.Kind() == 'n' || fault != "" {
			return nil
		}
		var s string
		switch s, fault = text(value); {
		case fault != "":
			fault = "may hold only strings: a value " + fault
		case textFault([]byte(name)) != "":
			fault = "may hold only strings: a name " + textFault([]byte(name))
		}
		values[name] = s
		return nil
	})
	if err != nil {
		return "must be an object"
	}
	if fault == "" && len(values) > maxStrings {
		fault = "may hold at most 32 values"
	}
	if fault == "" {
		field.Set(reflect.ValueOf(values))
	}
	return fault
}

func setList(field reflect.Value, raw jsontext.Value) string {
	if raw.Kind() != '[' {
		return "must be an array of strings"
	}
	var items []jsontext.Value
	if err := json.Unmarshal(raw, &items); err != nil {
		return "must be an array of strings"
	}
	if len(items) > maxList {
		return "may hold at most 32 values"
	}
	values := make(List, len(items))
	for i, item := range items {
		s, fault := text(item)
		if fault != "" {
			return "may hold only strings: a value " + fault
		}
		values[i] = s
	}
	field.Set(reflect.ValueOf(values))
	return ""
}
