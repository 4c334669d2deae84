package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"gatehouse/account"
	"gatehouse/store"
)

func TestStatementsAreTracedWithoutTheirValues(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	spans := tracetest.NewInMemoryExporter()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)).Tracer("test")
	s, err := store.Open(store.Options{URL: w.url, Pool: 4, Application: "trace-test", StatementTimeout: time.Minute, Tracer: tracer})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })

	require.NoError(t, s.Ping(t.Context()))
	_, err = s.OwnerOf(t.Context(), "canary@example.com")
	require.ErrorIs(t, err, account.ErrNotFound)
	require.Empty(t, spans.GetSpans(), "what is part of no trace makes no span")

	ctx, request := tracer.Start(t.Context(), "request")
	_, err = s.OwnerOf(ctx, "canary@example.com")
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = s.PrincipalBySession(ctx, uuid.New()) // through the pool itself
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = s.OpenCodeSignup(ctx, "canary@example.com") // through a model
	require.ErrorIs(t, err, account.ErrNotFound)
	m := welcome
	m.Destination, m.Flow = "canary@example.com", "canary"
	require.NoError(t, s.InTx(ctx, func(ctx context.Context, tx *store.Store) error {
		_, _, err := tx.BeginMessage(ctx, m)
		return err
	}))
	wrong := m
	wrong.Channel, wrong.Template, wrong.Step = "canary", "canary", "canary\x00"
	_, _, err = s.BeginMessage(ctx, wrong)
	require.Error(t, err)
	request.End()

	all := spans.GetSpans()
	names := map[string]int{}
	var failed int
	for _, span := range all {
		if span.Name == "request" {
			continue
		}
		names[span.Name]++
		require.Equal(t, request.SpanContext().TraceID(), span.SpanContext.TraceID())
		require.Equal(t, request.SpanContext().SpanID(), span.Parent.SpanID())
		require.Contains(t, span.Attributes, attribute.String("db.system.name", "postgresql"))
		shown := fmt.Sprintf("%+v", span)
		require.NotContains(t, shown, "canary", "a value")
		if span.Status.Code.String() == "Error" {
			failed++
			continue
		}
		if span.Name == "SELECT" || span.Name == "WITH" {
			require.Contains(t, shown, "db.query.text", "a statement of ours is told")
		}
	}
	require.GreaterOrEqual(t, names["SELECT"], 3)
	require.GreaterOrEqual(t, names["WITH"], 1, "the message that takes over what is owed")
	require.Equal(t, 1, names["BEGIN"])
	require.Equal(t, 1, names["COMMIT"])
	require.Positive(t, failed)
}
