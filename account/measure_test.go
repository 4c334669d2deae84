package account_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

// constants are the values of all constants of a string type that the package declares.
func constants(t *testing.T, typeName string) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var values []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if name, ok := spec.Type.(*ast.Ident); !ok || name.Name != typeName {
				return true
			}
			for _, v := range spec.Values {
				if literal, ok := v.(*ast.BasicLit); ok {
					value, err := strconv.Unquote(literal.Value)
					require.NoError(t, err)
					values = append(values, value)
				}
			}
			return true
		})
	}
	require.NotEmpty(t, values, "the search finds constants of type %s", typeName)
	return values
}

func TestListsOfLabelsAreWhole(t *testing.T) {
	t.Parallel()
	var purposes, kinds, channels []string
	for _, c := range account.Channels() {
		channels = append(channels, string(c))
	}
	require.ElementsMatch(t, constants(t, "Channel"), channels)
	statuses := []string{string(account.SubscriptionCanceled), string(account.SubscriptionIncompleteExpired)} // they are over
	for _, s := range account.LiveStatuses() {
		statuses = append(statuses, string(s))
	}
	require.ElementsMatch(t, constants(t, "SubscriptionStatus"), statuses)
	for _, p := range account.Purposes() {
		purposes = append(purposes, string(p))
	}
	for _, k := range account.FindingKinds() {
		kinds = append(kinds, string(k))
	}
	require.ElementsMatch(t, constants(t, "Purpose"), purposes)
	require.ElementsMatch(t, constants(t, "FindingKind"), kinds)
}

func TestRateLimitsAreAllThatRefuse(t *testing.T) {
	t.Parallel()
	parsed, err := parser.ParseFile(token.NewFileSet(), "policy.go", nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	var declared int
	ast.Inspect(parsed, func(n ast.Node) bool {
		if literal, ok := n.(*ast.CompositeLit); ok {
			if name, ok := literal.Type.(*ast.Ident); ok && name.Name == "RateLimit" {
				if _, none := literal.Elts[1].(*ast.Ident); !none {
					declared++
				}
			}
		}
		return true
	})
	require.Len(t, account.RateLimits(), declared)
	for _, limit := range account.RateLimits() {
		require.NotEmpty(t, limit.Quotas, limit.Name)
	}
}
