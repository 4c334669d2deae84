//go:build unix

package e2e_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/query/v1"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	temporalclient "go.temporal.io/sdk/client"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// The places of a dump.
const (
	placeHistory    = "history"
	placeMemo       = "memo"
	placeAttributes = "search attributes"
	placePending    = "pending activities"
	placeDescribed  = "description"
	placeMetadata   = "current details"
)

// dump is what somebody finds who may read a place, but has no key.
type dump map[string][]byte

func (d dump) text(place, content string) { d[place] = append(d[place], content+"\n"...) }

// message keeps a message as its bytes and as JSON, in which bytes are base64.
func (d dump) message(t testing.TB, place string, m proto.Message) {
	t.Helper()
	if !m.ProtoReflect().IsValid() {
		return
	}
	raw, err := proto.Marshal(m)
	require.NoError(t, err)
	text, err := protojson.Marshal(m)
	require.NoError(t, err)
	d[place] = slices.Concat(d[place], raw, []byte("\n"), text, []byte("\n"))
}

// found names the places that hold a secret, plain or thinly wrapped.
func (d dump) found(s canary) []string {
	var places []string
	for place, content := range d {
		if s.in(content) {
			places = append(places, place)
		}
	}
	slices.Sort(places)
	return places
}

// canary is a value that must not be found.
type canary struct{ name, value string }

// in looks for the value, its hex and its base64. Six digits are no code in the middle of a longer number.
func (s canary) in(content []byte) bool {
	if isCode.MatchString(s.value) {
		if regexp.MustCompile(`(?:^|[^0-9A-Za-z.])` + s.value + `(?:$|[^0-9A-Za-z])`).Match(content) {
			return true
		}
	} else if bytes.Contains(content, []byte(s.value)) {
		return true
	}
	return slices.ContainsFunc(wrapped(s.value), func(form string) bool { return bytes.Contains(content, []byte(form)) })
}

var isCode = regexp.MustCompile(`^[0-9]{6}$`)

// wrapped is value in hex, and in base64 at each of the three places that it can have in a longer text.
func wrapped(value string) []string {
	forms := []string{hex.EncodeToString([]byte(value))}
	const sextet, octet = 6, 8
	for shift := range 3 {
		padded := strings.Repeat("x", shift) + value
		first, end := (shift*octet+sextet-1)/sextet, len(padded)*octet/sextet
		forms = append(forms, base64.RawStdEncoding.EncodeToString([]byte(padded))[first:end],
			base64.RawURLEncoding.EncodeToString([]byte(padded))[first:end])
	}
	return forms
}

// dumpWorkflows reads all that Temporal keeps and says of the workflows of a namespace, as somebody without the key.
func dumpWorkflows(t testing.TB, c temporalclient.Client, namespace, query string) (dump, []*workflow.WorkflowExecutionInfo) {
	t.Helper()
	d := dump{}
	list, err := c.WorkflowService().ListWorkflowExecutions(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{
		Namespace: namespace, Query: query, PageSize: 1000,
	})
	require.NoError(t, err)
	require.Empty(t, list.NextPageToken)
	for _, info := range list.Executions {
		d.message(t, placeDescribed, info)
		d.message(t, placeMemo, info.Memo)
		d.message(t, placeAttributes, info.SearchAttributes)
		d.history(t, c, namespace, info.Execution)
		d.describe(t, c, namespace, info.Execution)
		d.metadata(t, c, namespace, info.Execution)
	}
	return d, list.Executions
}

func (d dump) history(t testing.TB, c temporalclient.Client, namespace string, run *common.WorkflowExecution) {
	t.Helper()
	request := &workflowservice.GetWorkflowExecutionHistoryRequest{Namespace: namespace, Execution: run}
	for {
		page, err := c.WorkflowService().GetWorkflowExecutionHistory(t.Context(), request)
		require.NoError(t, err)
		d.message(t, placeHistory, page.History)
		if request.NextPageToken = page.NextPageToken; len(request.NextPageToken) == 0 {
			return
		}
	}
}

func (d dump) describe(t testing.TB, c temporalclient.Client, namespace string, run *common.WorkflowExecution) {
	t.Helper()
	described, err := c.WorkflowService().DescribeWorkflowExecution(t.Context(),
		&workflowservice.DescribeWorkflowExecutionRequest{Namespace: namespace, Execution: run})
	require.NoError(t, err)
	d.message(t, placeDescribed, described)
	for _, activity := range described.PendingActivities {
		d.message(t, placePending, activity)
	}
}

// metadata asks a running workflow for what the UI shows of it.
func (d dump) metadata(t testing.TB, c temporalclient.Client, namespace string, run *common.WorkflowExecution) {
	t.Helper()
	answered, err := c.WorkflowService().QueryWorkflow(t.Context(), &workflowservice.QueryWorkflowRequest{
		Namespace: namespace, Execution: run, Query: &query.WorkflowQuery{QueryType: "__temporal_workflow_metadata"},
		QueryRejectCondition: enums.QUERY_REJECT_CONDITION_NONE,
	})
	require.NoError(t, err)
	d.message(t, placeMetadata, answered)
}

// dumpDatabase reads every row of every table as text, without the development inbox, which exists to show codes.
func dumpDatabase(t testing.TB, db database) dump {
	t.Helper()
	d := dump{}
	tables := db.texts(t, `SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'dev_inbox'`)
	for _, table := range tables {
		for _, row := range db.texts(t, `SELECT r::text FROM `+table+` AS r`) {
			d.text("table "+table, row)
		}
	}
	return d
}
