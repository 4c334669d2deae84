package deploy_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// setting is one environment variable that a settings struct declares.
type setting struct {
	name, value, doc string
}

// productSettings are those of `gatehouse`, stackSettings those that `make run` has beside them.
func productSettings(t *testing.T) []setting {
	t.Helper()
	return structSettings(t, "internal/config", "Config", "")
}

func stackSettings(t *testing.T) []setting {
	t.Helper()
	known := names(productSettings(t))
	var more []setting
	for _, s := range structSettings(t, "devstack/stack", "Settings", "") {
		if !known[s.name] {
			more = append(more, s)
		}
	}
	return more
}

func names(settings []setting) map[string]bool {
	found := map[string]bool{}
	for _, s := range settings {
		found[s.name] = true
	}
	return found
}

// structSettings reads the env tags and comments of a struct of the package in dir (a path from the root). It reads the
// source because comments are gone at run time and the stack's module cannot be imported from here.
func structSettings(t *testing.T, dir, name, prefix string) []setting {
	t.Helper()
	fields, imports := structFields(t, dir, name)
	var found []setting
	for _, f := range fields {
		if f.Tag == nil {
			continue
		}
		text, err := strconv.Unquote(f.Tag.Value)
		require.NoError(t, err)
		tag := reflect.StructTag(text)
		if env := tag.Get("env"); env != "" {
			name, _, _ := strings.Cut(env, ",")
			found = append(found, setting{prefix + name, tag.Get("envDefault"), f.Doc.Text()})
			continue
		}
		if nested, ok := tag.Lookup("envPrefix"); ok {
			nestedDir, nestedName := typePlace(t, f.Type, dir, imports)
			found = append(found, structSettings(t, nestedDir, nestedName, prefix+nested)...)
		}
	}
	return found
}

// structFields returns the fields of a struct and the imports of the file that declares it, by their last element.
func structFields(t *testing.T, dir, name string) (fields []*ast.Field, imports map[string]string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	require.NoError(t, err)
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		require.NoError(t, err)
		object := file.Scope.Lookup(name)
		if object == nil {
			continue
		}
		spec, ok := object.Decl.(*ast.TypeSpec)
		require.True(t, ok, name)
		body, ok := spec.Type.(*ast.StructType)
		require.True(t, ok, name)
		imports = map[string]string{}
		for _, i := range file.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			require.NoError(t, err)
			imports[path[strings.LastIndex(path, "/")+1:]] = path
		}
		return body.Fields.List, imports
	}
	require.Failf(t, "no such struct", "%s in %s", name, dir)
	return nil, nil
}

// typePlace is the folder and name of a field's struct type, of this package or of another one of ours.
func typePlace(t *testing.T, typ ast.Expr, dir string, imports map[string]string) (typeDir, name string) {
	t.Helper()
	switch typ := typ.(type) {
	case *ast.Ident:
		return dir, typ.Name
	case *ast.SelectorExpr:
		pkg, ok := typ.X.(*ast.Ident)
		require.True(t, ok)
		return strings.TrimPrefix(imports[pkg.Name], "gatehouse/"), typ.Sel.Name
	default:
		require.Failf(t, "a settings struct of an unknown kind", "%T", typ)
		return "", ""
	}
}

func readRoot(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, name))
	require.NoError(t, err)
	return string(content)
}
