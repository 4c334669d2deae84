package endpoint

import (
	"bytes"
	"encoding/json"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"gatehouse/account"
)

// everything is a request with a field of every kind.
type everything struct {
	Text    string        `json:"text"`
	Maybe   *string       `json:"maybe"`
	Flag    *bool         `json:"flag"`
	Number  *int64        `json:"number"`
	Object  Object        `json:"object"`
	Strings Strings       `json:"strings"`
	List    List          `json:"list"`
	Inner   *fuzzedInner  `json:"inner"`
	Inners  []fuzzedInner `json:"inners"`
}

type fuzzedInner struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// texts are all texts that were believed, except those within Object, which stay as they came.
func (e everything) texts() []string {
	all := append([]string{e.Text}, e.List...)
	if e.Maybe != nil {
		all = append(all, *e.Maybe)
	}
	for name, value := range e.Strings {
		all = append(all, name, value)
	}
	for _, one := range e.Inners {
		all = append(all, one.Name)
	}
	if e.Inner != nil {
		all = append(all, e.Inner.Name)
	}
	return all
}

// Whatever the bytes, binding ends in a fault of the client's or in values that the database can hold, and that the standard
// library reads alike.
func FuzzBody(f *testing.F) {
	for _, seed := range []string{
		`{"text":"a","maybe":null,"flag":true,"number":-0,"object":{"a":[1e308]},"strings":{"a":"b"},"list":["x"],"inner":{"name":"n","size":1},"inners":[{}]}`,
		`{}`, `{"Text":"a"}`, `{"text":"a","text":"b"}`, `{"text":"\ud800"}`, `{"text":"\u0000"}`, `{"object":{"a":1e999}}`, `{"object":{"\\u0000":1}}`,
		`{"object":{"a":"\\u0000"}}`, `{"strings":{"a\u0000":null}}`, `[]`, `nul`, `{"x":[[[[]]]]}`, "{\"text\":\"\xff\"}", "\xef\xbb\xbf{}", `{} {}`,
		strings.Repeat(`{"x":`, 40) + "1" + strings.Repeat("}", 40), `{"number":1.0}`, `{"number":9223372036854775808}`, `{"inners":[{"name":1}]}`,
	} {
		f.Add([]byte(seed))
	}
	b := bindingOf(reflect.TypeFor[everything](), sources...)
	f.Fuzz(func(t *testing.T, body []byte) {
		var got everything
		faults := make([][]account.Field, len(b.fields))
		sent := bytes.Clone(body)
		err := readObject(body, b.member(reflect.ValueOf(&got).Elem(), faults))
		if !bytes.Equal(sent, body) {
			t.Fatal("the body was changed")
		}
		if err != nil {
			if kind := account.AsError(err).Kind; kind != account.Malformed {
				t.Fatalf("%q: a fault of kind %v: %v", body, kind, err)
			}
			return
		}
		if !json.Valid(body) || !utf8.Valid(body) {
			t.Fatalf("%q was taken for JSON", body)
		}
		for _, text := range got.texts() {
			if !utf8.ValidString(text) || strings.ContainsRune(text, 0) || len(text) > maxString {
				t.Fatalf("%q became %q", body, text)
			}
		}
		requireStorable(t, got.Object)
		if b.invalid(faults) != nil {
			return
		}
		var exact map[string]json.RawMessage
		if err := json.Unmarshal(body, &exact); err != nil {
			t.Fatal(err)
		}
		var text string
		if raw, given := exact["text"]; given && json.Unmarshal(raw, &text) == nil && text != got.Text {
			t.Fatalf("%q became %q", raw, got.Text)
		}
	})
}

// requireStorable holds what goes into the database as it came.
func requireStorable(t *testing.T, object Object) {
	t.Helper()
	if object == nil {
		return
	}
	var value any
	if err := json.Unmarshal(object, &value); err != nil || len(object) > maxObject {
		t.Fatalf("%q is kept: %v", object, err) // also for a number that no double holds
	}
	if depth(value) > maxObjectDepth || nul(value) {
		t.Fatalf("%q is kept", object)
	}
}

func depth(value any) int {
	deepest := 0
	switch v := value.(type) {
	case map[string]any:
		for _, one := range v {
			deepest = max(deepest, depth(one))
		}
	case []any:
		for _, one := range v {
			deepest = max(deepest, depth(one))
		}
	default:
		return 0
	}
	return deepest + 1
}

func nul(value any) bool {
	switch v := value.(type) {
	case map[string]any:
		for name, one := range v {
			if strings.ContainsRune(name, 0) || nul(one) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, nul)
	case string:
		return strings.ContainsRune(v, 0)
	}
	return false
}

// What is told of a value without decoding it is what decoding would tell.
func FuzzScans(f *testing.F) {
	for _, seed := range []string{`{"a":[{"b":"\\u0000"}]}`, `"\u0000"`, `["\\\\\u0000"]`, `[[]]`, `{"[":"]"}`, `"\"["`, `1e309`, `[1E+0400]`, `{"e1e999":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !jsontext.Value(raw).IsValid() {
			_ = nestedDeeper(raw, maxDepth)
			_ = holdsNUL(raw)
			_ = holdsHugeNumber(raw)
			return
		}
		var value any
		if err := json.Unmarshal(raw, &value); err != nil {
			return // a number that no double holds may still be one that Postgres takes, as 17976931348623159e292 is
		}
		for limit := range 5 {
			if nestedDeeper(raw, limit) != (depth(value) > limit) {
				t.Fatalf("%q is of depth %d", raw, depth(value))
			}
		}
		if holdsNUL(raw) != nul(value) {
			t.Fatalf("%q: NUL is %v", raw, nul(value))
		}
	})
}

// outsideOnly is a request that comes without a body.
type outsideOnly struct {
	ID     string  `path:"id"`
	To     *string `query:"to"`
	Limit  *int64  `query:"limit"`
	Secret string  `header:"X-Secret"`
}

// Paths, queries and headers: readable text without NUL, or a fault of the client's.
func FuzzOutside(f *testing.F) {
	for _, seed := range [][3]string{
		{"1", "to=a&limit=5", "x"},
		{"%00", "to=%00", "\xff"},
		{"%zz", "to=%zz&to=b", ""},
		{"..%2f..", "limit=9223372036854775808", "a"},
		{"%ff", "to=%ff", "é"},
		{"a+b", "to=a+b;limit=1", "\t"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	b := bindingOf(reflect.TypeFor[outsideOnly](), sources...)
	var got *outsideOnly
	var bound error
	app := fiber.New()
	app.Get("/things/:id", func(c *fiber.Ctx) error {
		got = &outsideOnly{}
		bound = b.bind(c, got)
		return nil
	})
	serve := app.Handler()
	f.Fuzz(func(t *testing.T, path, query, header string) {
		got, bound = nil, nil
		var ctx fasthttp.RequestCtx
		ctx.Request.Header.SetMethod("GET")
		ctx.Request.SetRequestURI("/things/" + path + "?" + query)
		ctx.Request.Header.Set("X-Secret", header)
		serve(&ctx)
		if got == nil {
			return // another path
		}
		if bound != nil {
			if kind := account.AsError(bound).Kind; kind != account.Invalid && kind != account.NotFound {
				t.Fatalf("a fault of kind %v: %v", kind, bound)
			}
			return
		}
		texts := []string{got.ID, got.Secret}
		if got.To != nil {
			texts = append(texts, *got.To)
		}
		for _, text := range texts {
			if !utf8.ValidString(text) || strings.ContainsRune(text, 0) || len(text) > maxString {
				t.Fatalf("%q %q %q became %q", path, query, header, text)
			}
		}
		if unescaped, err := url.PathUnescape(path); err == nil && !strings.ContainsAny(path, "/?#%") && unescaped != got.ID {
			t.Fatalf("%q became %q", path, got.ID)
		}
	})
}
