package store

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/schema"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// statementLimit bounds how much of a statement a span keeps, in bytes.
const statementLimit = 2000

// statementTracer makes a span of every statement that is part of a trace. The span holds the statement as it is written in
// this package, never a value: bun writes values into the text, so its hook hands on the text before that; a statement that
// came some other way is named by its first word alone.
type statementTracer struct{ tracer trace.Tracer }

type templateKey struct{}

// BeforeQuery implements bun.QueryHook.
func (statementTracer) BeforeQuery(ctx context.Context, event *bun.QueryEvent) context.Context {
	if event.IQuery == nil || !trace.SpanFromContext(ctx).IsRecording() {
		return ctx
	}
	template, err := event.IQuery.AppendQuery(schema.NewNopQueryGen(), nil)
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, templateKey{}, string(template))
}

// AfterQuery implements bun.QueryHook.
func (statementTracer) AfterQuery(context.Context, *bun.QueryEvent) {}

// TraceQueryStart implements pgx.QueryTracer.
func (s statementTracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return ctx // housekeeping of the pool, or a trace that nobody keeps
	}
	template, known := ctx.Value(templateKey{}).(string)
	if !known && bound(data.Args) {
		template, known = data.SQL, true
	}
	operation := firstWord(data.SQL)
	attributes := []attribute.KeyValue{
		attribute.String("db.system.name", "postgresql"), attribute.String("db.operation.name", operation),
	}
	if known {
		template = strings.Join(strings.Fields(template), " ")
		attributes = append(attributes, attribute.String("db.query.text", template[:min(len(template), statementLimit)]))
	}
	ctx, _ = s.tracer.Start(ctx, operation, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...))
	return context.WithValue(ctx, startedKey{}, true)
}

type startedKey struct{}

// TraceQueryEnd implements pgx.QueryTracer. Of an error only its class is kept: its text quotes values.
func (statementTracer) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	if ctx.Value(startedKey{}) == nil {
		return
	}
	span := trace.SpanFromContext(ctx)
	if data.Err != nil && !errors.Is(data.Err, pgx.ErrNoRows) {
		span.SetStatus(codes.Error, "")
		if failed, ok := errors.AsType[*pgconn.PgError](data.Err); ok {
			span.SetAttributes(attribute.String("db.response.status_code", failed.Code))
		}
	}
	span.End()
}

// TraceBatchStart implements pgx.BatchTracer. Its statements are ours, with their values beside them.
func (s statementTracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return ctx
	}
	var all strings.Builder
	for _, query := range data.Batch.QueuedQueries {
		all.WriteString(strings.Join(strings.Fields(query.SQL), " ") + "; ")
	}
	text, operation := all.String(), "BATCH"
	if data.Batch.Len() == 1 {
		operation = firstWord(data.Batch.QueuedQueries[0].SQL)
	}
	ctx, _ = s.tracer.Start(ctx, operation, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("db.system.name", "postgresql"), attribute.String("db.operation.name", operation),
		attribute.Int("db.operation.batch.size", data.Batch.Len()),
		attribute.String("db.query.text", text[:min(len(text), statementLimit)])))
	return context.WithValue(ctx, startedKey{}, true)
}

// TraceBatchQuery implements pgx.BatchTracer.
func (statementTracer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd implements pgx.BatchTracer.
func (s statementTracer) TraceBatchEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceBatchEndData) {
	s.TraceQueryEnd(ctx, conn, pgx.TraceQueryEndData{Err: data.Err})
}

// bound reports whether a statement has its values beside it, as those have that this package hands to the driver itself.
func bound(args []any) bool {
	for _, arg := range args {
		switch arg.(type) {
		case pgx.QueryExecMode:
			return true
		case pgx.QueryResultFormatsByOID: // database/sql puts its own before ours
		default:
			return false
		}
	}
	return false
}

// firstWord is the operation of a statement, in capitals.
func firstWord(statement string) string {
	word, _, _ := strings.Cut(strings.TrimLeft(statement, " \t\n("), " ")
	if word = strings.TrimFunc(word, func(r rune) bool { return r < 'A' || r > 'z' }); len(word) > 16 {
		return "STATEMENT"
	}
	return strings.ToUpper(word)
}
