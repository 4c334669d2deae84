package endpoint

import (
	"log/slog"

	"github.com/gofiber/fiber/v2"

	"gatehouse/account"
)

// Frame is what every endpoint of a process shares.
type Frame struct {
	Logger *slog.Logger
	Clock  account.Clock
	// Origins are those whose pages may use cookies of ours.
	Origins []string
}

// State is what the frame knows about one request. Middleware fills it on the way in.
type State struct {
	Frame     *Frame
	RequestID string
	// Pattern is the route's path, never the request's: paths may carry secrets.
	Pattern string
	Caller  account.Caller
}

type stateKey struct{}

// Begin attaches the state to the request.
func Begin(c *fiber.Ctx, s *State) { c.Locals(stateKey{}, s) }

// StateOf returns the state of the request, or nil when nothing began it yet.
func StateOf(c *fiber.Ctx) *State {
	s, _ := c.Locals(stateKey{}).(*State)
	return s
}

func replyOf(c *fiber.Ctx, status int, message string) Reply {
	s := StateOf(c)
	return Reply{Status: status, Message: message, RequestID: s.RequestID, Time: s.Frame.Clock.Now()}
}
