package durable

import (
	"context"
	"fmt"
	"sync"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/proxy"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
)

// KeyUse is what in Temporal was encrypted by one key.
type KeyUse struct {
	// Running and Closed are runs of flows, Schedules are schedules.
	Running, Closed, Schedules int
}

// keyScanners is how many runs are read at once: enough to be done, few enough to leave the server to its flows.
const keyScanners = 8

// keyScanTimeout bounds each call of a scan. No request waits for it, and a busy server may take its time.
const keyScanTimeout = 30 * time.Second

// KeyUses reads every history that the namespace keeps, of runs that were started before a moment (zero: all), and every
// schedule, and returns by key id what was encrypted by it. Nothing is decrypted. A run that was started after a key
// stopped encrypting holds nothing of it: it got its input anew. progress, if any, hears how many runs were read. Errors are
// the SDK's: a look that did not reach everything finds nothing.
func (c *Client) KeyUses(ctx context.Context, before time.Time, progress func(runs int)) (map[string]KeyUse, error) {
	scan := &keyScan{client: c, uses: map[string]KeyUse{}}
	query := ""
	if !before.IsZero() {
		query = fmt.Sprintf("StartTime < '%s'", before.UTC().Format(time.RFC3339Nano))
	}
	runs := 0
	for page, more := []byte(nil), true; more; more = len(page) > 0 {
		listed, err := c.list(ctx, query, page)
		if err != nil {
			return nil, err
		}
		group, each := errgroup.WithContext(ctx)
		group.SetLimit(keyScanners)
		for _, run := range listed.GetExecutions() {
			group.Go(func() error { return scan.run(each, run) })
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
		page = listed.GetNextPageToken()
		if runs += len(listed.GetExecutions()); progress != nil {
			progress(runs)
		}
	}
	return scan.uses, scan.schedules(ctx)
}

func (c *Client) list(ctx context.Context, query string, page []byte) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, keyScanTimeout)
	defer cancel()
	return c.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: query, PageSize: listPage, NextPageToken: page})
}

type keyScan struct {
	client *Client
	mu     sync.Mutex
	uses   map[string]KeyUse
}

// run looks at a history, and at what an open run holds beside it: attempts of activities that go on.
func (s *keyScan) run(ctx context.Context, run *workflow.WorkflowExecutionInfo) error {
	found := map[string]bool{}
	running := run.GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING
	err := s.history(ctx, run.GetExecution(), found)
	if err == nil && running {
		err = s.state(ctx, run.GetExecution(), found)
	}
	if is[*serviceerror.NotFound](err) {
		return nil // its retention has ended meanwhile
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range found {
		use := s.uses[id]
		if running {
			use.Running++
		} else {
			use.Closed++
		}
		s.uses[id] = use
	}
	return nil
}

func (s *keyScan) history(ctx context.Context, of *commonpb.WorkflowExecution, found map[string]bool) error {
	for page, more := []byte(nil), true; more; more = len(page) > 0 {
		call, cancel := context.WithTimeout(ctx, keyScanTimeout)
		answer, err := s.client.temporal.WorkflowService().GetWorkflowExecutionHistory(call, &workflowservice.GetWorkflowExecutionHistoryRequest{
			Namespace: s.client.namespace, Execution: of, NextPageToken: page,
		})
		cancel()
		if err != nil {
			return err
		}
		if err := keysIn(ctx, answer.GetHistory(), found); err != nil {
			return err
		}
		page = answer.GetNextPageToken()
	}
	return nil
}

func (s *keyScan) state(ctx context.Context, of *commonpb.WorkflowExecution, found map[string]bool) error {
	ctx, cancel := context.WithTimeout(ctx, keyScanTimeout)
	defer cancel()
	answer, err := s.client.temporal.DescribeWorkflowExecution(ctx, of.GetWorkflowId(), of.GetRunId())
	if err != nil {
		return err
	}
	return keysIn(ctx, answer, found)
}

func (s *keyScan) schedules(ctx context.Context) error {
	all, err := s.client.temporal.ScheduleClient().List(ctx, client.ScheduleListOptions{})
	if err != nil {
		return err
	}
	for all.HasNext() {
		one, err := all.Next()
		if err != nil {
			return err
		}
		call, cancel := context.WithTimeout(ctx, keyScanTimeout)
		answer, err := s.client.temporal.WorkflowService().DescribeSchedule(call, &workflowservice.DescribeScheduleRequest{
			Namespace: s.client.namespace, ScheduleId: one.ID,
		})
		cancel()
		if is[*serviceerror.NotFound](err) {
			continue
		}
		if err != nil {
			return err
		}
		found := map[string]bool{}
		if err := keysIn(ctx, answer, found); err != nil {
			return err
		}
		for id := range found {
			use := s.uses[id]
			use.Schedules++
			s.uses[id] = use
		}
	}
	return nil
}

// keysIn adds the ids of all keys by which payloads in a message were encrypted.
func keysIn(ctx context.Context, in proto.Message, found map[string]bool) error {
	return proxy.VisitPayloads(ctx, in, proxy.VisitPayloadsOptions{
		SkipSearchAttributes: true,
		Visitor: func(_ *proxy.VisitPayloadsContext, payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
			for _, p := range payloads {
				if string(p.GetMetadata()[converter.MetadataEncoding]) == encryptedEncoding {
					found[keyOf(p)] = true
				}
			}
			return payloads, nil
		},
	})
}
