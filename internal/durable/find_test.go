package durable_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/durable"
)

func TestFlowsOf(t *testing.T) {
	t.Parallel()
	require.Equal(t, "WorkflowId IN ('signup/1', 'sub/o''hare') OR AccountID IN ('a')",
		durable.FlowsOf([]string{"signup/1", "sub/o'hare"}, []string{"a"}))
	require.Equal(t, "AccountID IN ('a', 'b')", durable.FlowsOf(nil, []string{"a", "b"}))
	require.Empty(t, durable.FlowsOf(nil, nil), "nothing is no query for everything")
}
