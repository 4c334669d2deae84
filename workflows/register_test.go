package workflows_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/reflect/protoreflect"

	"gatehouse/workflows"
)

// collector notes what Register registers.
type collector struct {
	worker.Registry
	names map[string]workflow.RegisterOptions
}

func (c collector) RegisterWorkflowWithOptions(w any, o workflow.RegisterOptions) {
	full := runtime.FuncForPC(reflect.ValueOf(w).Pointer()).Name()
	c.names[full[strings.LastIndex(full, ".")+1:]] = o
}

func TestRegister_KnowsEveryWorkflow(t *testing.T) {
	t.Parallel()
	registered := map[string]workflow.RegisterOptions{}
	workflows.Register(collector{names: registered})
	written := exportedWorkflows(t)
	require.Contains(t, written, "Signup", "the search finds workflows")
	for _, name := range written {
		options, ok := registered[name]
		require.True(t, ok, "%s is a workflow that Register does not register", name)
		require.Equal(t, name, options.Name, "a workflow goes by its function's name")
		require.NotEqual(t, workflow.VersioningBehaviorUnspecified, options.VersioningBehavior, "%s says how it is versioned", name)
	}
	require.Len(t, registered, len(written))
}

// exportedWorkflows are the exported functions of the package whose first parameter is a workflow.Context.
func exportedWorkflows(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var names []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		parsed, err := parser.ParseFile(token.NewFileSet(), file, source, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			if ok && f.Recv == nil && f.Name.IsExported() && takesWorkflowContext(f) {
				names = append(names, f.Name.Name)
			}
		}
	}
	return names
}

func takesWorkflowContext(f *ast.FuncDecl) bool {
	if len(f.Type.Params.List) == 0 {
		return false
	}
	selector, ok := f.Type.Params.List[0].Type.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	of, ok := selector.X.(*ast.Ident)
	return ok && of.Name == "workflow" && selector.Sel.Name == "Context"
}

// methods are the names under which a worker registers a struct's activities.
func methods(of any) []string {
	var names []string
	for method := range reflect.TypeOf(of).Methods() {
		names = append(names, method.Name)
	}
	return names
}

// payloads finds every payload of a message, however deep.
func payloads(m protoreflect.Message) []*common.Payload {
	if p, ok := m.Interface().(*common.Payload); ok {
		return []*common.Payload{p}
	}
	var found []*common.Payload
	for field, v := range m.Range {
		switch {
		case field.IsMap() && field.MapValue().Message() != nil:
			for _, inner := range v.Map().Range {
				found = append(found, payloads(inner.Message())...)
			}
		case field.IsList() && field.Message() != nil:
			for i := range v.List().Len() {
				found = append(found, payloads(v.List().Get(i).Message())...)
			}
		case !field.IsList() && !field.IsMap() && field.Message() != nil:
			found = append(found, payloads(v.Message())...)
		}
	}
	return found
}

var asked = regexp.MustCompile(`(?:GetVersion\(ctx, |\tChange\w+ = )"([^"]+)"`)

func TestChanges_AreAllThatIsAskedFor(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var ids []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, found := range asked.FindAllSubmatch(text, -1) {
			ids = append(ids, string(found[1]))
		}
	}
	require.ElementsMatch(t, ids, workflows.Changes())
}
