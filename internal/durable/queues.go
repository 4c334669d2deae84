package durable

// The task queues. The starter and the worker must name the same one, so both take it from here.
const (
	// QueueFlows runs workflows, local activities and the activities that touch only our own store.
	QueueFlows = "account-flows"
	// QueueNotify runs the activities that send messages, so that a slow provider cannot hold up a flow.
	QueueNotify = "account-notify"
	// QueueBilling runs the flows of subscriptions and what they ask of our own store, a few at a time: ten thousand renewals at
	// one instant hold up nobody who waits for a code.
	QueueBilling = "account-billing"
	// QueuePayments runs the activities that ask the payment provider, at the rate it bears.
	QueuePayments = "account-payments"
	// QueueWebhooks runs the activities that tell receivers of events: they are others' machines, and may all hang.
	QueueWebhooks = "account-webhooks"
)
