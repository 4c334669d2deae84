package workflows_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"

	"gatehouse/workflows"
)

// Whatever stage a flow shows while it has work left is one that operators can count.
func TestStages_HoldEveryStageOfTheRecordings(t *testing.T) {
	t.Parallel()
	known := workflows.Stages()
	seen := map[string]bool{}
	for name := range endings {
		h, _ := recorded(t, name)
		kind := kindOf(name)
		for _, e := range h.GetEvents() {
			fields := e.GetWorkflowExecutionStartedEventAttributes().GetSearchAttributes().GetIndexedFields()
			if e.GetEventType() == enums.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES {
				fields = e.GetUpsertWorkflowSearchAttributesEventAttributes().GetSearchAttributes().GetIndexedFields()
			}
			stage, set := fields["FlowStage"]
			if _, over := fields["FlowOutcome"]; set && !over && value(stage) != endings[name] {
				require.Contains(t, known[kind], value(stage), "%s of %s", kind, name)
				seen[kind+"/"+value(stage)] = true
			}
		}
	}
	require.GreaterOrEqual(t, len(seen), len(known), "the search finds stages: %v", seen)
	for kind := range known {
		require.True(t, anyOf(seen, kind), "no recording shows a stage of %s", kind)
	}
}

func anyOf(seen map[string]bool, kind string) bool {
	for s := range seen {
		if strings.HasPrefix(s, kind+"/") {
			return true
		}
	}
	return false
}
