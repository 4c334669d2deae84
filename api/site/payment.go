package site

import (
	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

// PaymentNoticePath is where Stripe sends what it tells by itself.
const PaymentNoticePath = "/webhooks/stripe"

// PaymentNoticeRoute takes the payment provider's messages. Their signature is their credential; the provider's few addresses
// bring as many as there are charges, so they are not counted.
func PaymentNoticeRoute(c Core) endpoint.Route {
	return endpoint.Handle(Dialect, endpoint.Meta{
		ID: "takePaymentNotice", Method: "POST", Path: PaymentNoticePath, Policy: endpoint.Public, Limit: account.LimitRead,
	}, paymentNotice.input, c.PaymentNotice, newReceivedBody)
}

type paymentNotice struct {
	Payload   []byte `body:"whole"`
	Signature string `header:"Stripe-Signature"`
}

func (r paymentNotice) input() core.PaymentNoticeInput {
	return core.PaymentNoticeInput{Payload: r.Payload, Signature: r.Signature}
}

type receivedBody struct {
	Received bool `json:"received"`
}

func newReceivedBody(core.None) any { return receivedBody{Received: true} }
