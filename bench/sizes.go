//go:build unix

package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
)

// population.sql has one statement for each table: rows as the product leaves them behind.
//
//go:embed population.sql
var population embed.FS

// runSizes fills a database and writes down what a row of each table costs, and what the recorded flows cost in Temporal.
func runSizes(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("sizes", flag.ContinueOnError)
	binary := flags.String("binary", "bin/gatehouse", "what lays the schema")
	accounts := flags.Int("accounts", 100_000, "how many accounts to make")
	output := flags.String("output", "docs/scale-measured.md", "the document to write")
	histories := flags.String("histories", "workflows/testdata/histories", "the recorded flows")
	if err := flags.Parse(args); err != nil {
		return err
	}
	path, err := filepath.Abs(*binary)
	if err != nil {
		return fmt.Errorf("find %s: %w", *binary, err)
	}
	flows, err := flowSizes(*histories)
	if err != nil {
		return err
	}
	tables, indexes, major, err := tableSizes(ctx, path, *accounts)
	if err != nil {
		return err
	}
	document := sizesDocument(*accounts, major, tables, indexes, flows)
	if err := os.WriteFile(*output, []byte(document), 0o644); err != nil { //nolint:gosec // a document for everyone
		return fmt.Errorf("write the document: %w", err)
	}
	return nil
}

// tableSize is what a table takes, without what Postgres keeps once for each.
type tableSize struct {
	name                string
	rows, heap, indexes int64
}

// indexSize is what an index takes.
type indexSize struct {
	name        string
	bytes, rows int64
}

func tableSizes(ctx context.Context, binary string, accounts int) (tables []tableSize, indexes []indexSize, major int, err error) {
	s := &stack{binary: binary}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.startDatabase(ctx); err != nil {
		return nil, nil, 0, err
	}
	conn, err := pgx.Connect(ctx, s.url())
	if err != nil {
		return nil, nil, 0, fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	text, err := population.ReadFile("population.sql")
	if err != nil {
		return nil, nil, 0, err
	}
	for statement := range strings.SplitSeq(string(text), ";\n") {
		statement = strings.ReplaceAll(statement, ":accounts", fmt.Sprint(accounts))
		if _, err := conn.Exec(ctx, statement); err != nil {
			return nil, nil, 0, fmt.Errorf("%w\n%s", err, statement)
		}
	}
	rows, err := conn.Query(ctx, `SELECT relname, reltuples::bigint, pg_table_size(oid), pg_indexes_size(oid) FROM pg_class
		WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND reltuples >= $1 / 20 ORDER BY relname`, accounts)
	if err != nil {
		return nil, nil, 0, err
	}
	tables, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (t tableSize, err error) {
		return t, row.Scan(&t.name, &t.rows, &t.heap, &t.indexes)
	})
	if err != nil {
		return nil, nil, 0, err
	}
	rows, err = conn.Query(ctx, `SELECT i.relname, pg_relation_size(i.oid), i.reltuples::bigint FROM pg_class i JOIN pg_index x ON x.indexrelid = i.oid
		WHERE i.relnamespace = 'public'::regnamespace AND i.reltuples >= $1 / 20 ORDER BY 2 DESC`, accounts)
	if err != nil {
		return nil, nil, 0, err
	}
	indexes, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (i indexSize, err error) {
		return i, row.Scan(&i.name, &i.bytes, &i.rows)
	})
	return tables, indexes, s.cluster.Major, err
}

// flowSize is what one recorded flow takes in Temporal.
type flowSize struct {
	name          string
	events, bytes int
}

func flowSizes(folder string) ([]flowSize, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no histories in %s: %w", folder, err)
	}
	var all []flowSize
	for _, file := range files {
		h, err := readHistory(file)
		if err != nil {
			return nil, err
		}
		all = append(all, flowSize{strings.TrimSuffix(filepath.Base(file), ".json"), len(h.GetEvents()), h.Size()})
	}
	return all, nil
}

func readHistory(path string) (*historypb.History, error) {
	file, err := os.Open(path) //nolint:gosec // one of the recorded histories
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	h, err := client.HistoryFromJSON(file, client.HistoryJSONOptions{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return h, nil
}

func sizesDocument(accounts, major int, tables []tableSize, indexes []indexSize, flows []flowSize) string {
	var b strings.Builder
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(&b, format+"\n", args...) }
	say("# What rows and flows cost\n")
	say("`make sizes` wrote this file: %d accounts and what belongs to them in PostgreSQL %d, filled by `bench/population.sql` in", accounts, major)
	say("random order of accounts, vacuumed. What it means for an installation is in [scale.md](scale.md).\n")
	say("## Tables: bytes of a row\n")
	say("| table | rows | heap | indexes | together |")
	say("|---|---|---|---|---|")
	for _, t := range tables {
		say("| `%s` | %d | %d | %d | %d |", t.name, t.rows, t.heap/t.rows, t.indexes/t.rows, (t.heap+t.indexes)/t.rows)
	}
	say("\n## The largest indexes: bytes of an entry\n")
	say("| index | bytes | MiB here |")
	say("|---|---|---|")
	for _, i := range indexes[:min(len(indexes), 20)] {
		say("| `%s` | %d | %d |", i.name, i.bytes/max(i.rows, 1), i.bytes>>20)
	}
	say("\n## Flows: the recorded histories, encrypted\n")
	say("| flow | events | bytes |")
	say("|---|---|---|")
	for _, f := range flows {
		say("| %s | %d | %d |", f.name, f.events, f.bytes)
	}
	return b.String()
}
