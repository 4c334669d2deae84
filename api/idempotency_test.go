package api_test

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

const (
	initiate  = "/api/v1/auth/initiate-signup"
	signupFor = `{"email":"user@example.com","password":"long enough"}`
	keyHeader = "Idempotency-Key"
)

func TestRepetitionsGetTheFirstAnswer(t *testing.T) {
	t.Parallel()
	for _, o := range contract.Operations() {
		if !takesKey(o) {
			continue
		}
		t.Run(o.OperationID, func(t *testing.T) {
			t.Parallel()
			app := newApp(t)
			first := app.good(t, o, keyHeader, "k1")
			second := app.good(t, o, keyHeader, "k1")
			require.Equal(t, first.Status, second.Status)
			require.Equal(t, first.Body, second.Body)
			require.Equal(t, first.Header.Get("Content-Type"), second.Header.Get("Content-Type"))
			require.Empty(t, first.Header.Get("Idempotent-Replayed"))
			require.Equal(t, "true", second.Header.Get("Idempotent-Replayed"))
			calls := app.core.called()
			require.Len(t, calls, 1)
			require.NotEmpty(t, calls[0].by.IdempotencyKey)
			require.NotContains(t, calls[0].by.IdempotencyKey, "k1")
			third := app.good(t, o, keyHeader, "k2")
			require.Empty(t, third.Header.Get("Idempotent-Replayed"))
			require.NotEqual(t, calls[0].by.IdempotencyKey, app.core.called()[1].by.IdempotencyKey)
		})
	}
}

func TestRequestsWithoutAKeyAreAllNew(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	app.send(t, "POST", initiate, signupFor)
	app.send(t, "POST", initiate, signupFor)
	require.Len(t, app.core.called(), 2)
	require.Empty(t, app.core.called()[0].by.IdempotencyKey)
	require.Empty(t, app.core.claimed)
}

func TestKeysAreScopedToTheRoute(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	app.send(t, "POST", initiate, signupFor, keyHeader, "k")
	got := app.send(t, "POST", "/api/v1/auth/signup", signupFor, keyHeader, "k")
	require.Empty(t, got.Header.Get("Idempotent-Replayed"))
	require.Len(t, app.core.called(), 2)
}

func TestAnotherRequestUnderTheSameKey(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	app.send(t, "POST", initiate, signupFor, keyHeader, "k")
	got := app.send(t, "POST", initiate, strings.Replace(signupFor, "user", "other", 1), keyHeader, "k")
	require.Equal(t, "idempotency_key_reused", requireFailure(t, "authv1", 422, got))
	got = app.send(t, "PUT", "/v1/users/confirm-email", `{"token":"a"}`, keyHeader, "k")
	require.Equal(t, 200, got.Status)
	got = app.send(t, "PUT", "/v1/users/confirm-email", `{"token":"b"}`, keyHeader, "k")
	require.Equal(t, "idempotency_key_reused", requireFailure(t, "usersv1", 400, got))
}

// What a header asks for is part of the request; who asks is not.
func TestAnotherHeaderUnderTheSameKey(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	other := "00000000-0000-4000-8000-000000000001"
	others := func(headers ...string) answer {
		return app.send(t, "POST", "/api/v1/account/sessions/sign-out-others", `{"password":"p"}`,
			append(headers, bearer, "Bearer "+goodToken, keyHeader, "k")...)
	}
	require.Equal(t, 200, others("X-Session-Id", sessionID.String()).Status)
	require.Equal(t, "true", others("X-Session-Id", sessionID.String()).Header.Get("Idempotent-Replayed"))
	requireFailure(t, "accountv1", 422, others("X-Session-Id", other))
	requireFailure(t, "accountv1", 422, others())
	require.Len(t, app.core.called(), 1)

	google := func(headers ...string) answer {
		return app.send(t, "POST", "/v1/auth/google", `{"code":"c"}`, append(headers, keyHeader, "k")...)
	}
	require.Equal(t, 200, google("X-Device-Id", "fp-1").Status)
	require.Equal(t, "true", google("X-Device-Id", "fp-1", "X-Device-Token", "ghd_1").Header.Get("Idempotent-Replayed"))
}

// Keys are in use while an update rolls out: what was hashed before is hashed as it was.
func TestHashOfARequestIsKept(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	app.send(t, "POST", initiate, signupFor, keyHeader, "k")
	want := sha256.Sum256([]byte(initiate + "\x00" + signupFor))
	for _, hash := range app.core.claimed {
		require.Equal(t, want[:], hash)
	}
	require.Len(t, app.core.claimed, 1)
}

func TestAKeyInUse(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	app.core.claimFails = account.ErrIdempotencyKeyInUse
	got := app.send(t, "POST", initiate, signupFor, keyHeader, "k")
	require.Equal(t, "idempotency_key_in_use", requireFailure(t, "authv1", 409, got))
	require.Empty(t, app.core.called())
	require.Zero(t, app.core.released, "released what another request holds")
}

func TestOddKeys(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{"too long": strings.Repeat("x", 256), "not ASCII": "ä", "tab": "a\tb"} {
		app := newApp(t)
		got := app.send(t, "POST", initiate, signupFor, keyHeader, key)
		require.Equal(t, "invalid_idempotency_key", requireFailure(t, "authv1", 400, got), name)
		require.Empty(t, app.core.called())
	}
	got := newApp(t).send(t, "POST", initiate, signupFor, keyHeader, "a", keyHeader, "b")
	require.Equal(t, "invalid_idempotency_key", requireFailure(t, "authv1", 400, got))
	for _, key := range []string{strings.Repeat("x", 255), "a b", "~!\"'"} {
		require.Equal(t, 200, newApp(t).send(t, "POST", initiate, signupFor, keyHeader, key).Status)
	}
}

func TestOnlyFinalAnswersAreKept(t *testing.T) {
	t.Parallel()
	for name, one := range map[string]struct {
		fails error
		kept  bool
	}{
		"200": {nil, true},
		"202": {account.ErrPending.Running("1"), false},
		"400": {account.ErrInvalidCode, true},
		"401": {account.ErrInvalidCredentials, false},
		"403": {account.ErrEmailNotVerified, true},
		"409": {account.ErrEmailExists, true},
		"422": {account.ErrInvalid.On("email", "is odd"), true},
		"429": {account.ErrTooManyRequests, false},
		"500": {errors.New("broken"), false},
		"503": {account.ErrUnavailable, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := newApp(t)
			app.core.fails = one.fails
			send := func() *http.Response {
				// Not every status above is one of this route's, so the contract stays out of it.
				request, err := http.NewRequestWithContext(t.Context(), "POST", "http://x"+initiate, strings.NewReader(signupFor))
				require.NoError(t, err)
				request.Header.Set("Content-Type", "application/json")
				request.Header.Set(keyHeader, "k")
				response, err := app.Test(request)
				require.NoError(t, err)
				require.NoError(t, response.Body.Close())
				return response
			}
			require.Equal(t, name, itoa(send().StatusCode))
			app.core.fails = nil
			second := send()
			require.Equal(t, one.kept, second.Header.Get("Idempotent-Replayed") == "true")
			require.Equal(t, one.kept, app.core.released == 0)
			if !one.kept {
				require.Equal(t, 200, second.StatusCode)
			}
		})
	}
}

func TestAPanicGivesTheKeyBack(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	app.core.panics = "told to"
	require.Equal(t, 500, app.send(t, "POST", initiate, signupFor, keyHeader, "k").Status)
	require.Equal(t, 1, app.core.released)
}
