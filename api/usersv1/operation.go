package usersv1

import (
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

type operationRequest struct {
	ID string `path:"id"`
}

func (r operationRequest) input() core.OperationInput { return core.OperationInput{ID: r.ID} }

type operationBody struct {
	ID           string         `json:"id"`
	Kind         string         `json:"kind"`
	Stage        string         `json:"stage"`
	Outcome      *string        `json:"outcome"`
	AttemptsLeft int            `json:"attemptsLeft"`
	ExpiresAt    *string        `json:"expiresAt"`
	NextActionAt *string        `json:"nextActionAt"`
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
		ID: o.ID, Kind: string(o.Kind), Stage: string(o.Stage), AttemptsLeft: o.AttemptsLeft,
		ExpiresAt: endpoint.StampOrNil(o.ExpiresAt), NextActionAt: endpoint.StampOrNil(o.NextActionAt), Deliveries: make([]deliveryBody, 0, len(o.Deliveries)),
	}
	if o.Stage.Ended() {
		body.Outcome = &body.Stage
	}
	for _, d := range o.Deliveries {
		body.Deliveries = append(body.Deliveries, deliveryBody{
			Channel: d.Channel, State: d.State, Attempts: d.Attempts, NextRetryAt: endpoint.StampOrNil(d.NextRetryAt),
		})
	}
	return body
}
