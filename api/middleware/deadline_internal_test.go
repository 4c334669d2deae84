package middleware

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

func TestEnds(t *testing.T) {
	t.Parallel()
	now := account.SystemClock{}.Now()
	e := &ends{after: time.Hour}

	first := e.from(now)
	until, bounded := first.Deadline()
	require.True(t, bounded)
	require.Equal(t, now.Add(time.Hour), until)
	require.Equal(t, first, e.from(now.Add(time.Hour/sharedFor-1)), "requests of one moment share an end")

	later := now.Add(time.Hour / sharedFor)
	until, _ = e.from(later).Deadline()
	require.Equal(t, later.Add(time.Hour), until, "no request has less than its time but for a part")
}

func TestDeadline_EndsRequestsAndKeepsTheirValues(t *testing.T) {
	t.Parallel()
	type key struct{}
	seen := make(chan context.Context, 2)
	app := fiber.New()
	app.Use(func(c *fiber.Ctx) error {
		c.SetUserContext(context.WithValue(c.UserContext(), key{}, "kept"))
		return c.Next()
	})
	app.Use("/waits", Deadline(20*time.Millisecond))
	app.Use("/ends", Deadline(time.Hour))
	app.Get("/waits", func(c *fiber.Ctx) error {
		<-c.UserContext().Done()
		seen <- c.UserContext()
		return c.SendStatus(http.StatusNoContent)
	})
	app.Get("/ends", func(c *fiber.Ctx) error {
		seen <- c.UserContext()
		return c.SendStatus(http.StatusNoContent)
	})

	for path, end := range map[string]error{"/waits": context.DeadlineExceeded, "/ends": context.Canceled} {
		answer, err := app.Test(httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil), -1)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Equal(t, http.StatusNoContent, answer.StatusCode)
		ctx := <-seen
		require.Equal(t, "kept", ctx.Value(key{}))
		require.ErrorIs(t, ctx.Err(), end, path)
	}
}
