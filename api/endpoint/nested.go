package endpoint

import (
	"encoding/json"
	"reflect"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"gatehouse/account"
)

// filler stores a raw JSON value, or returns what is wrong with it: under no name for the value itself, under the path
// within it for a part.
type filler func(field reflect.Value, raw jsontext.Value) []account.Field

// fillerOf returns how values of a type are filled, or nil for a type that cannot be: what setters name, a struct whose
// fields are tagged json (or a pointer to one, nil while absent), and a slice of such structs, of at most 32.
func fillerOf(t reflect.Type) filler {
	switch set := setters[t]; {
	case set != nil:
		return func(field reflect.Value, raw jsontext.Value) []account.Field { return itself(set(field, raw)) }
	case t.Kind() == reflect.Struct:
		return bindingOf(t, "json").object
	case t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct:
		object := bindingOf(t.Elem(), "json").object
		return func(field reflect.Value, raw jsontext.Value) []account.Field {
			field.Set(reflect.New(t.Elem()))
			return object(field.Elem(), raw)
		}
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return bindingOf(t.Elem(), "json").list
	}
	return nil
}

// itself is a fault of a whole value.
func itself(fault string) []account.Field {
	if fault == "" {
		return nil
	}
	return []account.Field{{Message: fault}}
}

// under puts a name before those of faults.
func under(name string, faults []account.Field) []account.Field {
	for i, f := range faults {
		if f.Name != "" {
			f.Name = "." + f.Name
		}
		faults[i].Name = name + f.Name
	}
	return faults
}

func (b binding) object(field reflect.Value, raw jsontext.Value) []account.Field {
	if raw.Kind() != '{' {
		return itself("must be an object")
	}
	faults := make([][]account.Field, len(b.fields))
	if err := eachMember(raw, b.member(field, faults)); err != nil {
		return itself("must not contain NUL") // all else was judged with the body
	}
	return b.named(faults)
}

func (b binding) list(field reflect.Value, raw jsontext.Value) []account.Field {
	var items []jsontext.Value
	if raw.Kind() != '[' || json.Unmarshal(raw, &items) != nil {
		return itself("must be an array of objects")
	}
	if len(items) > maxList {
		return itself("may hold at most 32 values")
	}
	values := reflect.MakeSlice(field.Type(), len(items), len(items))
	var faults []account.Field
	for i, item := range items {
		faults = append(faults, under(strconv.Itoa(i), b.object(values.Index(i), item))...)
	}
	field.Set(values)
	return faults
}
