package durable

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/protobuf/types/known/durationpb"
)

// The search attributes by which ops find flows. They are stored in the clear and seen late: no personal data, and no
// decision rests on them.
var (
	// FlowKind is the noun: signup, password, subscription.
	FlowKind = temporal.NewSearchAttributeKeyKeyword("FlowKind")
	// FlowStage is where the flow stands.
	FlowStage = temporal.NewSearchAttributeKeyKeyword("FlowStage")
	// FlowOutcome is how it ended.
	FlowOutcome = temporal.NewSearchAttributeKeyKeyword("FlowOutcome")
	// AccountID is the account's opaque id, once there is one.
	AccountID = temporal.NewSearchAttributeKeyKeyword("AccountID")
	// Plan is the code of a subscription's plan.
	Plan = temporal.NewSearchAttributeKeyKeyword("Plan")
	// NextActionAt is when the flow wakes next.
	NextActionAt = temporal.NewSearchAttributeKeyTime("NextActionAt")
)

// SearchAttributes returns name and type of every search attribute a flow may set.
func SearchAttributes() map[string]enums.IndexedValueType {
	all := map[string]enums.IndexedValueType{}
	for _, key := range []temporal.SearchAttributeKey{FlowKind, FlowStage, FlowOutcome, AccountID, Plan, NextActionAt} {
		all[key.GetName()] = key.GetValueType()
	}
	return all
}

// ErrAttributesUnknown means that we may not even look which search attributes there are.
var ErrAttributesUnknown = errors.New("the server does not say which search attributes there are")

// MissingAttributesError means that we may not add search attributes, and some are missing.
type MissingAttributesError struct {
	// Names are the missing ones with their types.
	Names []string
}

// Error implements error.
func (e *MissingAttributesError) Error() string {
	return "search attributes to create in the namespace: " + strings.Join(e.Names, ", ")
}

func missingAttributes(missing map[string]enums.IndexedValueType) error {
	e := &MissingAttributesError{}
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		e.Names = append(e.Names, fmt.Sprintf("%s (%s)", name, missing[name]))
	}
	return e
}

// refused reports whether the server keeps this to itself: Temporal Cloud has search attributes managed elsewhere.
func refused(err error) bool {
	return is[*serviceerror.PermissionDenied](err) || is[*serviceerror.Unimplemented](err)
}

// RegisterSearchAttributes adds to the namespace those search attributes that it lacks. Without them every start that
// sets one is refused. It returns ErrAttributesUnknown, or MissingAttributesError with the names, where we may not look or add.
func RegisterSearchAttributes(ctx context.Context, c client.Client, namespace string) error {
	missing := SearchAttributes()
	listed, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{
		Namespace: namespace,
	})
	if refused(err) {
		// Or is it we who are refused, whatever we ask?
		if _, unwelcome := c.CheckHealth(ctx, &client.CheckHealthRequest{}); unwelcome != nil {
			return fmt.Errorf("list search attributes: %w", err)
		}
		return ErrAttributesUnknown
	}
	if err != nil {
		return fmt.Errorf("list search attributes: %w", err)
	}
	for name, kind := range listed.GetCustomAttributes() {
		if want, ours := missing[name]; ours && want != kind {
			return fmt.Errorf("search attribute %s exists as %s, not %s", name, kind, want)
		}
		delete(missing, name)
	}
	if len(missing) == 0 {
		return nil
	}
	_, err = c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace:        namespace,
		SearchAttributes: missing,
	})
	if refused(err) {
		return missingAttributes(missing)
	}
	// Another process may have been faster.
	if err != nil && !is[*serviceerror.AlreadyExists](err) {
		return fmt.Errorf("add search attributes: %w", err)
	}
	return nil
}

// EnsureNamespace creates the namespace with that retention of closed flows, unless it exists; then it stays as it is.
func EnsureNamespace(ctx context.Context, address, namespace string, retention time.Duration) error {
	c, err := client.NewNamespaceClient(client.Options{HostPort: address})
	if err != nil {
		return fmt.Errorf("namespace client: %w", err)
	}
	defer c.Close()
	err = c.Register(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace:                        namespace,
		Description:                      "Gatehouse account flows",
		WorkflowExecutionRetentionPeriod: durationpb.New(retention),
	})
	if err != nil && !is[*serviceerror.NamespaceAlreadyExists](err) {
		return fmt.Errorf("create namespace %s: %w", namespace, err)
	}
	return nil
}
