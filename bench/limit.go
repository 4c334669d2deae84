//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// serveLimit serves the limit handlers of docs/performance.md until ctx ends: Fiber, one prepared primary-key select
// through pgx and a constant body. GET /row/<bytes>/<id> reads the columns that our reads return from one flat table,
// GET /slim/<bytes>/<id> those without credits
// and plan, GET /bare/<bytes>/<id> one text column that is as wide. POST /commit/<id> changes one row and commits. POST
// /start/<id> and POST /update/<id> ask an empty flow, started or running, and with ?hash hash a password first.
func serveLimit(ctx context.Context, address, url string, connections int, flows emptyFlows) error {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("read the database URL: %w", err)
	}
	cfg.MaxConns = int32(connections) //nolint:gosec // a pool size, far below 2^31
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("open the pool: %w", err)
	}
	defer pool.Close()
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	for path, table := range map[string]string{rowPath: "limit_rows", slimPath: "limit_slim", barePath: "limit_bare"} {
		columns, err := columnsOf(ctx, pool, table)
		if err != nil {
			return err
		}
		app.Get(path+":bytes/:id", limitHandler(pool, "SELECT * FROM "+table+" WHERE id = $1", columns)) //nolint:contextcheck // a request brings its own
	}
	app.Post(commitPath+":id", commitHandler(pool))         //nolint:contextcheck // a request brings its own
	app.Post(startPath+":id", flows.handler(flows.start))   //nolint:contextcheck // as above
	app.Post(updatePath+":id", flows.handler(flows.update)) //nolint:contextcheck // as above
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	go func() {
		<-ctx.Done()
		_ = app.ShutdownWithTimeout(time.Second)
	}()
	return app.Listener(listener)
}

const (
	rowPath, barePath     = "/row/", "/bare/"
	commitPath            = "/commit/"
	startPath, updatePath = "/start/", "/update/"
)

// commitHandler commits a change of one row.
func commitHandler(pool *pgxpool.Pool) fiber.Handler {
	return func(c *fiber.Ctx) error {
		id, err := c.ParamsInt("id")
		if err != nil {
			return fiber.ErrBadRequest
		}
		_, err = pool.Exec(c.UserContext(), "UPDATE limit_commits SET n = n + 1 WHERE id = $1", pgx.QueryExecModeCacheStatement, id)
		if err != nil {
			return fmt.Errorf("commit: %w", err)
		}
		return c.Send(limitBody[:limitAnswer])
	}
}

// limitAnswer is the length of the answers of commits and flows, about that of ours.
const limitAnswer = 200

var limitBody = bytes.Repeat([]byte("x"), 64<<10)

func limitHandler(pool *pgxpool.Pool, query string, columns []uint32) fiber.Handler {
	return func(c *fiber.Ctx) error {
		id, err := uuid.Parse(c.Params("id"))
		if err != nil {
			return fiber.ErrBadRequest
		}
		size, err := c.ParamsInt("bytes")
		if err != nil || size < 0 || size > len(limitBody) {
			return fiber.ErrBadRequest
		}
		key := pgtype.UUID{Bytes: id, Valid: true}
		err = pool.QueryRow(c.UserContext(), query, pgx.QueryExecModeCacheStatement, key).Scan(targets(columns)...)
		if err != nil {
			return fmt.Errorf("read the row: %w", err)
		}
		c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
		return c.Send(limitBody[:size])
	}
}

// columnsOf are the types of a table's columns.
func columnsOf(ctx context.Context, pool *pgxpool.Pool, table string) ([]uint32, error) {
	rows, err := pool.Query(ctx, "SELECT * FROM "+table+" LIMIT 0")
	if err != nil {
		return nil, fmt.Errorf("read the columns of %s: %w", table, err)
	}
	defer rows.Close()
	var columns []uint32
	for _, f := range rows.FieldDescriptions() {
		columns = append(columns, f.DataTypeOID)
	}
	return columns, rows.Err()
}

// targets are Go values for the columns, such as the product scans into.
func targets(columns []uint32) []any {
	out := make([]any, len(columns))
	for i, column := range columns {
		switch column {
		case pgtype.UUIDOID:
			out[i] = new([16]byte)
		case pgtype.BoolOID:
			out[i] = new(bool)
		case pgtype.Int8OID:
			out[i] = new(int64)
		case pgtype.TimestamptzOID:
			out[i] = new(*time.Time)
		case pgtype.TextArrayOID:
			out[i] = new([]string)
		default:
			out[i] = new(*string)
		}
	}
	return out
}
