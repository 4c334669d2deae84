// Package accountv1 speaks document D: camelCase inside an envelope under /api/v1/account. It maps wire to core and
// back, and decides nothing.
package accountv1

import (
	"net/http"
	"strings"
	"time"

	"gatehouse/account"
	"gatehouse/api/endpoint"
)

// Dialect takes access tokens only (contract X05).
var Dialect = &endpoint.Dialect{
	Name:      "accountv1",
	Prefix:    "/api/v1/account",
	Success:   succeeded,
	Failure:   failed,
	FieldName: endpoint.CamelCase,
}

// envelope is the document's standard response; its own members mix both cases of letters.
type envelope struct {
	Success    bool   `json:"success"`
	HTTPStatus string `json:"httpStatus"`
	Message    string `json:"message"`
	ActionTime string `json:"action_time"`
	Data       any    `json:"data"`
}

// timeLayout is the document's time: UTC without a zone (contract X11).
const timeLayout = "2006-01-02T15:04:05"

func stamp(t time.Time) string { return t.UTC().Format(timeLayout) }

func succeeded(r endpoint.Reply, data any) any {
	return envelope{
		Success: true, HTTPStatus: statusName(r.Status), Message: r.Message,
		ActionTime: stamp(r.Time), Data: data,
	}
}

// failed repeats the message as data, or tells each field's where fields are at fault.
func failed(r endpoint.Reply, e *account.Error) any {
	body := envelope{
		HTTPStatus: statusName(r.Status), Message: e.Message, ActionTime: stamp(r.Time), Data: e.Message,
	}
	if fields := endpoint.FieldMessages(e); fields != nil {
		body.Data = fields
	}
	return body
}

func statusName(status int) string {
	return strings.ToUpper(strings.NewReplacer(" ", "_", "-", "_").Replace(http.StatusText(status)))
}

// emptyRequest is the body of requests that need none.
type emptyRequest struct{}
