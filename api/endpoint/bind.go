package endpoint

import (
	"bytes"
	"fmt"
	"mime"
	"net/url"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/gofiber/fiber/v2"

	"gatehouse/account"
)

// binding is how a request struct is filled, worked out once per route.
type binding struct {
	fields []boundField
	// members finds the index of a body field by its exact wire name: Go's case folding would be mass assignment's
	// friend (security.md AUT-01).
	members map[string]int
	// whole is the field that takes the body as it came, -1 for none.
	whole int
	// asking are the headers that say what is asked for, and not merely who asks: all but those tagged `asks:"-"`.
	asking []string
}

type boundField struct {
	index  int
	source string
	name   string
	// canonical is the name under which a fault is known to the layers below.
	canonical string
	set       filler
}

// sources are the tags of a request's fields, and the parts of a request that they name.
var sources = []string{"json", "path", "query", "header", "cookie"}

func bindingOf(t reflect.Type, sources ...string) binding {
	b := binding{members: map[string]int{}, whole: -1}
	for i := range t.NumField() {
		f := t.Field(i)
		if _, ok := f.Tag.Lookup("body"); ok && f.Type == reflect.TypeFor[[]byte]() {
			b.whole = i
			continue
		}
		field := boundField{index: i}
		for _, source := range sources {
			if tag, ok := f.Tag.Lookup(source); ok {
				field.source, field.name = source, tag
			}
		}
		field.canonical = snakeCase(field.name)
		if field.source == "header" || field.source == "cookie" {
			field.canonical = field.name
		}
		field.set = fillerOf(f.Type)
		if field.set == nil || field.source == "" || (field.source != "json" && parsers[f.Type] == nil) {
			panic(fmt.Sprintf("endpoint: cannot bind field %s of %s", f.Name, t))
		}
		if field.source == "header" && f.Tag.Get("asks") != "-" {
			b.asking = append(b.asking, field.name)
		}
		if field.source == "json" {
			b.members[field.name] = len(b.fields)
		}
		b.fields = append(b.fields, field)
	}
	return b
}

// bind fills the struct that req points to. It reports everything at fault at once.
func (b binding) bind(c *fiber.Ctx, req any) error {
	target := reflect.ValueOf(req).Elem()
	faults := make([][]account.Field, len(b.fields))
	if err := b.bindBody(c, target, faults); err != nil {
		return err
	}
	for i, f := range b.fields {
		if f.source == "json" {
			continue
		}
		value, present, fault := outside(c, f)
		switch {
		case fault != "" && f.source == "path":
			return account.ErrNotFound
		case fault != "":
			faults[i] = itself(fault)
		case present:
			faults[i] = itself(parsers[target.Field(f.index).Type()](target.Field(f.index), value))
		}
	}
	return b.invalid(faults)
}

func (b binding) invalid(faults [][]account.Field) error {
	invalid := account.ErrInvalid
	for _, f := range b.named(faults) {
		invalid = invalid.On(f.Name, f.Message)
	}
	if len(invalid.Fields) == 0 {
		return nil
	}
	return invalid
}

// named are the faults of all fields, in the order of the struct, under their names.
func (b binding) named(faults [][]account.Field) []account.Field {
	var all []account.Field
	for i, f := range b.fields {
		all = append(all, under(f.canonical, faults[i])...)
	}
	return all
}

func (b binding) bindBody(c *fiber.Ctx, target reflect.Value, faults [][]account.Field) error {
	// Not c.Body: it would inflate what Content-Encoding claims to be compressed, without a bound.
	body := c.Request().Body()
	if b.whole >= 0 {
		// What is signed is every byte, whatever it calls itself.
		target.Field(b.whole).SetBytes(bytes.Clone(body))
		return nil
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	if !jsonMedia(c) {
		return account.ErrUnsupportedMedia
	}
	return readObject(body, b.member(target, faults))
}

// member fills the field of target that a member of an object is for.
func (b binding) member(target reflect.Value, faults [][]account.Field) func(name string, value jsontext.Value) error {
	return func(name string, value jsontext.Value) error {
		i, known := b.members[name]
		switch {
		case !known:
			if strings.IndexByte(name, 0) >= 0 || holdsNUL(value) {
				return account.ErrMalformed.Saying("The request body must not contain NUL.")
			}
		case value.Kind() != 'n':
			faults[i] = b.fields[i].set(target.Field(b.fields[i].index), value)
		}
		return nil
	}
}

func jsonMedia(c *fiber.Ctx) bool {
	if encoding := c.Get(fiber.HeaderContentEncoding); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return false
	}
	media, parameters, err := mime.ParseMediaType(c.Get(fiber.HeaderContentType))
	if err != nil || media != fiber.MIMEApplicationJSON {
		return false
	}
	charset, given := parameters["charset"]
	return !given || strings.EqualFold(charset, "utf-8")
}

// outside reads a value that is not in the body, and copies it: Fiber's strings are borrowed.
func outside(c *fiber.Ctx, f boundField) (value string, present bool, fault string) {
	switch f.source {
	case "path":
		unescaped, err := url.PathUnescape(c.Params(f.name))
		if err != nil {
			return "", false, "must be readable"
		}
		value, present = unescaped, true
	case "query":
		values := c.Request().URI().QueryArgs().PeekMulti(f.name)
		if len(values) > 1 {
			return "", false, "must be given once"
		}
		if present = len(values) == 1; present {
			value = string(values[0])
		}
	case "header":
		values := c.Request().Header.PeekAll(f.name)
		if len(values) > 1 {
			return "", false, "must be given once"
		}
		if len(values) == 1 {
			value = string(values[0])
		}
		present = value != ""
	case "cookie":
		value, present = cookie(c, f.name)
	}
	if fault = textFault([]byte(value)); fault == "" && !utf8.ValidString(value) {
		fault = "must be UTF-8"
	}
	return value, present, fault
}
