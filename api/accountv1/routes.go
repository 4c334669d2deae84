package accountv1

import (
	"slices"

	"gatehouse/api/endpoint"
	"gatehouse/core"
)

// Core is what this dialect asks of the operations, noun by noun.
type Core interface {
	passwordCore
	emailCore
	sessionCore
	deviceCore
	providerCore
	securityCore
	mfaCore
	usernameCore
	deactivationCore
}

// Routes is the table of document D.
func Routes(c Core) []endpoint.Route {
	return slices.Concat(
		passwordRoutes(c),
		emailRoutes(c),
		sessionRoutes(c),
		deviceRoutes(c),
		providerRoutes(c),
		securityRoutes(c),
		mfaRoutes(c),
		usernameRoutes(c),
		deactivationRoutes(c),
	)
}

func (emptyRequest) none() core.None { return core.None{} }
