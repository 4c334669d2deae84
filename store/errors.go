package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"

	"gatehouse/account"
)

// constraints names the account error of each constraint that requests can run into.
var constraints = map[string]*account.Error{
	"accounts_email_key":    account.ErrEmailExists,
	"accounts_username_key": account.ErrUsernameTaken,
	// An account has one link of a provider, and an outside account opens one account.
	"linked_providers_pkey":         account.ErrProviderConnected,
	"linked_providers_identity_key": account.ErrProviderConnected,
	"subscriptions_live_key":        account.ErrAlreadySubscribed,
	"closures_pkey":                 account.ErrIdempotencyKeyReused, // for a closure that was undone since the key was used
}

// errNoRows is what a query of one row returns when there is none.
var errNoRows = account.ErrNotFound

// translate turns a driver's error into an account error: a broken constraint into the failure it stands for, a lost or
// exhausted database into ErrUnavailable, no row into ErrNotFound. Others pass, and are internal.
func translate(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*account.Error](err); ok {
		return err
	}
	if errors.Is(err, sql.ErrNoRows) || errors.Is(err, pgx.ErrNoRows) {
		return errNoRows
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		if known, ok := constraints[pg.ConstraintName]; ok && pg.Code == "23505" {
			return known.Because(redact(pg))
		}
		if transient(pg.Code) {
			return account.ErrUnavailable.Because(redact(pg))
		}
		return redact(pg)
	}
	if lost(err) {
		return account.ErrUnavailable.Because(err)
	}
	return err
}

// transient covers connection trouble (08), resource shortage (53), operator intervention (57), conflicts of concurrent
// transactions (40), a transaction that idled too long and was rolled back (25P03), and a server that has just become a standby
// (25006): the same call may well succeed next time.
func transient(code string) bool {
	for _, class := range []string{"08", "53", "57", "40", "55P03", "25P03", "25006"} {
		if strings.HasPrefix(code, class) {
			return true
		}
	}
	return false
}

// deadlocked reports whether the database gave a transaction up so that another one could go on.
func deadlocked(err error) bool { return codeOf(err) == deadlock }

// outdated reports whether a prepared statement does not fit the schema any more, or the server has forgotten it.
func outdated(err error) bool {
	code := codeOf(err)
	return code == planOutdated || code == statementUnknown
}

// codeOf is the SQLSTATE of an error of the database, translated or not, and empty for another one.
func codeOf(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code
	}
	if told, ok := errors.AsType[*databaseError](err); ok {
		return told.code
	}
	return ""
}

const (
	deadlock         = "40P01"
	planOutdated     = "0A000"
	statementUnknown = "26000"
)

// endings are what the driver and its pools say when a connection, a transaction or its context ended under them.
var endings = []error{
	io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, driver.ErrBadConn, sql.ErrConnDone, sql.ErrTxDone, context.DeadlineExceeded,
	context.Canceled, puddle.ErrClosedPool,
}

func lost(err error) bool {
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || pgconn.SafeToRetry(err) ||
		slices.ContainsFunc(endings, func(ending error) bool { return errors.Is(err, ending) }) ||
		err.Error() == "sql: database is closed" // the one that database/sql does not export
}

// databaseError is a Postgres error without its detail, which quotes values of the row. So does the message of a data
// exception (class 22).
type databaseError struct{ code, constraint, table, message string }

func (e *databaseError) Error() string {
	return "postgres " + e.code + " " + e.table + " " + e.constraint + ": " + e.message
}

func redact(pg *pgconn.PgError) error {
	message := pg.Message
	if strings.HasPrefix(pg.Code, "22") {
		message = "data exception"
	}
	return &databaseError{code: pg.Code, constraint: pg.ConstraintName, table: pg.TableName, message: message}
}

// touched returns account.ErrNotFound when a statement changed no row.
func touched(res sql.Result, err error) error {
	if err != nil {
		return translate(err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return translate(err)
	}
	if n == 0 {
		return errNoRows
	}
	return nil
}
