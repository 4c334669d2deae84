//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	keyStatements = "statements of all operations"
	measurePlans  = "without a sequential scan"
)

// plans is the part that has Postgres explain every statement that the costs were counted of, with the values it came with.
type plans struct {
	*costs

	rows []planned
	errs []error
}

// planned is a statement and how Postgres goes about it.
type planned struct {
	shape string
	by    []string
	// indexes are what it reads by.
	indexes []string
	// scanned are the tables that it reads whole although they are large, or that no index serves.
	scanned []string
}

// catalogues are tables of a few rows that no load adds to.
var catalogues = []string{"plans", "webhook_endpoints"}

func (c *costs) plans() *part {
	p := &plans{costs: c}
	return &part{
		key: "plans", title: "Query plans", run: p.run, report: p.report, verdicts: p.verdicts,
		failures: func() []error { return p.errs },
	}
}

var explainable = regexp.MustCompile(`(?is)^\s*(WITH|SELECT|INSERT|UPDATE|DELETE)\b`)

var errNoStatements = errors.New("no statement was recorded; the plans are those of the part costs, which must run before")

func (p *plans) run(ctx context.Context, _ time.Duration) error {
	if len(p.statements) == 0 {
		return errNoStatements
	}
	conn, err := pgx.Connect(ctx, p.url())
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	large, err := largeTables(ctx, conn, p.accounts)
	if err != nil {
		return err
	}
	owners, err := ownersOfIndexes(ctx, conn)
	if err != nil {
		return err
	}
	for _, shape := range slices.Sorted(maps.Keys(p.statements)) {
		one := p.statements[shape]
		if !explainable.MatchString(one.example.sql) {
			continue
		}
		row, err := explained(ctx, conn.PgConn(), one, large, owners)
		if err != nil {
			p.errs = append(p.errs, fmt.Errorf("explain %s: %w", cut(shape, 100), err))
			continue
		}
		row.shape = shape
		p.rows = append(p.rows, row)
		if len(row.by) > 0 && len(row.scanned) > 0 {
			p.errs = append(p.errs, fmt.Errorf("sequential scan of %s: %s", strings.Join(row.scanned, ", "), cut(shape, 200)))
		}
	}
	return nil
}

// largeTables have at least half as many rows as there are accounts.
func largeTables(ctx context.Context, conn *pgx.Conn, accounts int) ([]string, error) {
	rows, err := conn.Query(ctx, `SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND reltuples >= $1`,
		float64(accounts)/2)
	if err != nil {
		return nil, fmt.Errorf("read the sizes of tables: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// explained looks twice: as things are, where large tables must be read by an index, and with sequential scans held against a plan,
// where all others must be: they are small here because nobody has used the database for years.
func explained(ctx context.Context, conn *pgconn.PgConn, s *seen, large []string, owners map[string]string) (planned, error) {
	out := planned{by: s.by}
	asIs, err := explain(ctx, conn, s.example)
	if err != nil {
		return out, err
	}
	for _, node := range asIs {
		if node.Type == seqScan && slices.Contains(large, node.Relation) {
			out.add(node.Relation)
		}
		if slices.Contains(large, owners[node.Index]) {
			out.reads(node.Index)
		}
	}
	if err := conn.Exec(ctx, "SET enable_seqscan = off").Close(); err != nil {
		return out, fmt.Errorf("forbid sequential scans: %w", err)
	}
	forced, err := explain(ctx, conn, s.example)
	if reset := conn.Exec(ctx, "RESET enable_seqscan").Close(); reset != nil {
		err = errors.Join(err, reset)
	}
	if err != nil {
		return out, err
	}
	for _, node := range forced {
		if node.Type == seqScan && !slices.Contains(catalogues, node.Relation) {
			out.add(node.Relation)
		}
		if node.Index != "" && !slices.Contains(large, owners[node.Index]) {
			out.reads(node.Index)
		}
	}
	return out, nil
}

func (p *planned) add(table string) {
	if !slices.Contains(p.scanned, table) {
		p.scanned = append(p.scanned, table)
	}
}

func (p *planned) reads(index string) {
	if !slices.Contains(p.indexes, index) {
		p.indexes = append(p.indexes, index)
	}
}

// ownersOfIndexes are the tables by their indexes.
func ownersOfIndexes(ctx context.Context, conn *pgx.Conn) (map[string]string, error) {
	rows, err := conn.Query(ctx, `SELECT indexname, tablename FROM pg_indexes WHERE schemaname = 'public'`)
	if err != nil {
		return nil, fmt.Errorf("read the indexes: %w", err)
	}
	owners := map[string]string{}
	var index, table string
	_, err = pgx.ForEachRow(rows, []any{&index, &table}, func() error {
		owners[index] = table
		return nil
	})
	return owners, err
}

const seqScan = "Seq Scan"

// planNode is what matters of a node of a plan.
type planNode struct {
	Type     string     `json:"Node Type"`     //nolint:tagliatelle // as Postgres writes it
	Relation string     `json:"Relation Name"` //nolint:tagliatelle // as above
	Index    string     `json:"Index Name"`    //nolint:tagliatelle // as above
	Plans    []planNode `json:"Plans"`         //nolint:tagliatelle // as above
}

func (n planNode) all() []planNode {
	out := []planNode{n}
	for _, child := range n.Plans {
		out = append(out, child.all()...)
	}
	return out
}

func explain(ctx context.Context, conn *pgconn.PgConn, s statement) ([]planNode, error) {
	read := conn.ExecParams(ctx, "EXPLAIN (FORMAT JSON) "+s.sql, s.values, s.types, s.formats, nil).Read()
	if read.Err != nil {
		return nil, read.Err
	}
	return nodesOf(read)
}

var errNoPlan = errors.New("no plan was returned")

func nodesOf(read *pgconn.Result) ([]planNode, error) {
	if len(read.Rows) == 0 || len(read.Rows[0]) == 0 {
		return nil, errNoPlan
	}
	var plans []struct {
		Plan planNode `json:"Plan"` //nolint:tagliatelle // as Postgres writes it
	}
	if err := json.Unmarshal(read.Rows[0][0], &plans); err != nil {
		return nil, fmt.Errorf("read a plan: %w", err)
	}
	if len(plans) == 0 {
		return nil, errNoPlan
	}
	return plans[0].Plan.all(), nil
}

func cut(text string, most int) string {
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most]) + " ..."
}

func (p *plans) verdicts() []verdict {
	hot, good := 0, 0
	for _, row := range p.rows {
		if len(row.by) > 0 {
			hot++
			if len(row.scanned) == 0 {
				good++
			}
		}
	}
	return []verdict{{keyStatements, measurePlans, "all", fmt.Sprintf("%d of %d", good, hot), good == hot, hot == 0}}
}

func (p *plans) report() string {
	rows := [][]string{{"statement", "asked for by", "read by", "sequential scan"}}
	for _, row := range p.rows {
		by, scanned := "the worker, now and then", "none"
		if len(row.by) > 0 {
			by = shortNames(row.by)
		}
		if len(row.scanned) > 0 {
			scanned = "**" + strings.Join(row.scanned, ", ") + "**"
		}
		read := "no table"
		if len(row.indexes) > 0 {
			read = "`" + strings.Join(row.indexes, "`, `") + "`"
		}
		rows = append(rows, []string{"`" + strings.ReplaceAll(cut(row.shape, 160), "|", "\\|") + "`", by, read, scanned})
	}
	return fmt.Sprintf("`EXPLAIN` of every statement as it travelled while the costs were counted, with its values, at %d accounts. Tables of that "+
		"size must be read by an index as things are. The others are small in this database, so Postgres is asked what it does when "+
		"sequential scans are held against a plan: then one remains only where no index serves. Of %s every row may be read.\n\n",
		p.accounts, strings.Join(catalogues, ", ")) + unpadded(rows)
}

// shortNames are the ids of the operations alone.
func shortNames(names []string) string {
	var out []string
	for _, name := range names {
		id, _, _ := strings.Cut(name, " ")
		id = strings.TrimSuffix(id, ",")
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return strings.Join(out, ", ")
}

// unpadded is a table whose cells are too long to be aligned.
func unpadded(rows [][]string) string {
	var b strings.Builder
	for n, row := range rows {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if n == 0 {
			b.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
	return b.String()
}
