package usersv1

import (
	"github.com/google/uuid"

	"gatehouse/api/endpoint"
	"gatehouse/core"
)

type operationRequest struct {
	ID string `path:"id"`
}

func (r operationRequest) input() core.OperationInput { return core.OperationInput{ID: r.ID} }

type operationBody struct {
	ID           uuid.UUID      `json:"id"`
	Kind         string         `json:"kind"`
	Stage        string         `json:"stage"`
	AttemptsLeft int            `json:"attemptsLeft"`
	ExpiresAt    *string        `json:"expiresAt"`
	Deliveries   []deliveryBody `json:"deliveries"`
}

type deliveryBody struct {
	Channel     string  `json:"channel"`
	State       string  `json:"state"`
	Attempts    int     `json:"attempts"`
	NextRetryAt *string `json:"nextRetryAt"`
}

func newOperationBody(o core.Operation) any {
	body := operationBody{
		ID: o.ID, Kind: o.Kind, Stage: o.Stage, AttemptsLeft: o.AttemptsLeft, ExpiresAt: endpoint.StampOrNil(o.ExpiresAt),
		Deliveries: make([]deliveryBody, 0, len(o.Deliveries)),
	}
	for _, d := range o.Deliveries {
		body.Deliveries = append(body.Deliveries, deliveryBody{
			Channel: d.Channel, State: d.State, Attempts: d.Attempts, NextRetryAt: endpoint.StampOrNil(d.NextRetryAt),
		})
	}
	return body
}
