// Package spectest holds answers of the API to the OpenAPI files. Tests send every answer through Check, whatever else
// they look at, so that no body, status or header can drift from what clients were told.
package spectest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"gatehouse/api/openapi"
)

// Contract is the parsed files, and what was seen of them.
type Contract struct {
	// Documents by dialect.
	Documents map[string]*openapi3.T

	operations []Operation
	mutex      sync.Mutex
	seen       map[string]bool
}

// Operation is one documented operation.
type Operation struct {
	Dialect string
	Method  string
	// Path has its parameters as {name}.
	Path string
	*openapi3.Operation

	item *openapi3.PathItem
	spec *openapi3.T
}

// Load parses and validates every file, examples included.
func Load() (*Contract, error) {
	c := &Contract{Documents: map[string]*openapi3.T{}, seen: map[string]bool{}}
	for _, file := range openapi.Files() {
		spec, err := openapi3.NewLoader().LoadFromData(file.Body)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file.Name, err)
		}
		if err := spec.Validate(context.Background(), openapi3.EnableExamplesValidation()); err != nil { //nolint:forbidigo // no caller to take one from
			return nil, fmt.Errorf("%s: %w", file.Name, err)
		}
		c.Documents[file.Name] = spec
		for path, item := range spec.Paths.Map() {
			for method, operation := range item.Operations() {
				c.operations = append(c.operations, Operation{file.Name, method, path, operation, item, spec})
			}
		}
	}
	slices.SortFunc(c.operations, func(a, b Operation) int { return strings.Compare(a.Path+a.Method, b.Path+b.Method) })
	return c, nil
}

// Operations returns every documented operation, sorted by path and method.
func (c *Contract) Operations() []Operation { return c.operations }

// Find returns the operation that serves path, static paths before templates.
func (c *Contract) Find(method, path string) (Operation, bool) {
	var found Operation
	for _, o := range c.operations {
		if o.Method == method && matches(o.Path, path) && (found.Path == "" || !strings.Contains(o.Path, "{")) {
			found = o
		}
	}
	return found, found.Path != ""
}

func matches(template, path string) bool {
	want, got := strings.Split(template, "/"), strings.Split(strings.TrimSuffix(path, "/"), "/")
	return slices.EqualFunc(want, got, func(w, g string) bool { return strings.HasPrefix(w, "{") || w == g })
}

// Check holds an answer, and a request that was answered with success, to the file. Paths that no file documents pass.
func (c *Contract) Check(request *http.Request, sent []byte, response *http.Response, body []byte) error {
	o, found := c.Find(request.Method, request.URL.Path)
	if !found {
		return nil
	}
	status := response.StatusCode
	c.mutex.Lock()
	c.seen[key(o, strconv.Itoa(status))] = true
	c.mutex.Unlock()
	input := o.input(request, sent)
	if status < http.StatusMultipleChoices && response.Header.Get("Idempotent-Replayed") == "" {
		if err := openapi3filter.ValidateRequest(request.Context(), input); err != nil {
			return fmt.Errorf("%s %s was answered %d to a request that the file does not allow: %w", o.Method, o.Path, status, err)
		}
	}
	answered := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: status, Header: response.Header,
		Body:    io.NopCloser(bytes.NewReader(body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	}
	if err := openapi3filter.ValidateResponse(request.Context(), answered); err != nil {
		return fmt.Errorf("%s %s answered %d with what the file does not allow: %w\nbody: %s",
			o.Method, o.Path, status, err, body)
	}
	if documented := o.Responses.Status(status); response.Header.Get("Set-Cookie") != "" && documented.Value.Headers["Set-Cookie"] == nil {
		return fmt.Errorf("%s %s answered %d with a cookie, of which the file does not tell", o.Method, o.Path, status)
	}
	return nil
}

func (o Operation) input(request *http.Request, sent []byte) *openapi3filter.RequestValidationInput {
	again := request.Clone(request.Context())
	again.Body = io.NopCloser(bytes.NewReader(sent))
	again.ContentLength = int64(len(sent))
	if len(bytes.TrimSpace(sent)) == 0 {
		again.Body = http.NoBody
	}
	parameters := map[string]string{}
	got := strings.Split(request.URL.Path, "/")
	for i, part := range strings.Split(o.Path, "/") {
		if strings.HasPrefix(part, "{") {
			parameters[strings.Trim(part, "{}")] = got[i]
		}
	}
	return &openapi3filter.RequestValidationInput{
		Request: again, PathParams: parameters, QueryParams: url.Values(request.URL.Query()),
		Route:   &routers.Route{Spec: o.spec, Path: o.Path, PathItem: o.item, Method: o.Method, Operation: o.Operation},
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, MultiError: true},
	}
}

// Unseen returns the documented pairs of operation and status that no checked answer had, as "operationId status".
func (c *Contract) Unseen() []string {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	var unseen []string
	for _, o := range c.operations {
		for status := range o.Responses.Map() {
			if k := key(o, status); !c.seen[k] {
				unseen = append(unseen, k)
			}
		}
	}
	slices.Sort(unseen)
	return unseen
}

func key(o Operation, status string) string { return o.Dialect + " " + o.OperationID + " " + status }
