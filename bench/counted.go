//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"go.temporal.io/api/workflowservice/v1"
)

// heap is what a process has allocated since it began.
type heap struct{ objects, bytes float64 }

func (h heap) minus(other heap) heap { return heap{h.objects - other.objects, h.bytes - other.bytes} }

// look returns what the API has allocated until now, and what it allocates for being asked.
func (c *costs) look(ctx context.Context) (now, asking heap, err error) {
	const looks = 4
	var objects, bytes []float64
	for range looks {
		before := now
		if now, err = heapOf(ctx, c.api); err != nil {
			return now, asking, err
		}
		if before.objects > 0 {
			objects, bytes = append(objects, now.objects-before.objects), append(bytes, now.bytes-before.bytes)
		}
	}
	return now, heap{median(objects), median(bytes)}, nil
}

var errNoMetric = errors.New("the process does not tell what it allocates")

func heapOf(ctx context.Context, s *server) (heap, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.ops+"/metrics", nil)
	if err != nil {
		return heap{}, err
	}
	answer, err := (&http.Client{Timeout: patience}).Do(request)
	if err != nil {
		return heap{}, fmt.Errorf("read the metrics: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	return readHeap(answer.Body)
}

func readHeap(metrics io.Reader) (heap, error) {
	var h heap
	lines := bufio.NewScanner(metrics)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		n, err := strconv.ParseFloat(value, 64)
		switch {
		case err != nil:
		case name == "go_memstats_mallocs_total":
			h.objects = n
		case name == "go_memstats_alloc_bytes_total":
			h.bytes = n
		}
	}
	if h.objects == 0 || h.bytes == 0 {
		return h, errors.Join(errNoMetric, lines.Err())
	}
	return h, nil
}

// flowsSeen are the flows of the namespace by id of their runs.
type flowsSeen map[string]flowSeen

type flowSeen struct {
	flowCost

	kind   string
	closed bool
}

func (c *costs) flowsNow(ctx context.Context, o costed) (flowsSeen, error) {
	if !o.flow {
		return flowsSeen{}, nil
	}
	all := flowsSeen{}
	var page []byte
	for {
		list, err := c.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{PageSize: 1000, NextPageToken: page})
		if err != nil {
			return nil, fmt.Errorf("list flows: %w", err)
		}
		for _, e := range list.GetExecutions() {
			at := e.GetExecution()
			one, err := c.temporal.DescribeWorkflowExecution(ctx, at.GetWorkflowId(), at.GetRunId())
			if err != nil {
				return nil, fmt.Errorf("look at a flow: %w", err)
			}
			info := one.GetWorkflowExecutionInfo()
			all[at.GetRunId()] = flowSeen{
				flowCost{info.GetHistoryLength(), info.GetHistorySizeBytes()}, info.GetType().GetName(), info.GetCloseTime() != nil,
			}
		}
		if page = list.GetNextPageToken(); len(page) == 0 {
			return all, nil
		}
	}
}

// since is how many events and bytes there are more than before, for each of n requests.
func (f flowsSeen) since(before flowsSeen, n int) (events, bytes float64) {
	for id, one := range f {
		events += float64(one.events - before[id].events)
		bytes += float64(one.bytes - before[id].bytes)
	}
	return events / float64(n), bytes / float64(n)
}

func (f flowsSeen) ended(kind string) []flowCost {
	var out []flowCost
	for _, one := range f {
		if one.closed && one.kind == kind {
			out = append(out, one.flowCost)
		}
	}
	return out
}
