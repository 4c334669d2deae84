//go:build unix

package e2e_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/testkit"
)

const (
	pathLink      = "/api/v1/account/link"
	pathLinkOAuth = pathLink + "/oauth"
	pathLinkEmail = pathLink + "/email"
)

// idToken is what the OpenID provider's SDK gives to a client.
func (o *outside) idToken(t testing.TB, audience, subject, email string) string {
	t.Helper()
	token, err := o.oidc.Keypair.SignJWT(jwt.MapClaims{
		"iss": o.oidc.Issuer(), "aud": audience, "sub": subject, "email": email, "email_verified": true,
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "jti": newEmail(),
	})
	require.NoError(t, err)
	return token
}

// said is the message of an enveloped answer of a status.
func (a answer) said(t testing.TB, status int) string {
	t.Helper()
	require.Equal(t, status, a.Status, "%s", a.Body)
	require.Equal(t, status == http.StatusOK, a.object(t)["success"], "%s", a.Body)
	return a.text(t, "message")
}

// data is what is in the envelope.
func (a answer) data(t testing.TB) map[string]any {
	t.Helper()
	data, ok := a.object(t)["data"].(map[string]any)
	require.True(t, ok, "%s", a.Body)
	return data
}

// D26, D27, and which tokens link nothing (OAU-01, OAU-03).
func TestAccountLinks_OAU01_OAU03(t *testing.T) {
	t.Parallel()
	o := startOutside(t)
	s, _, _ := stacktest.StartAll(t, stacktest.Options{Env: o.settings()})
	db, c := openDatabase(t, s), newClient(s.BaseURL)
	email, other := newEmail(), newEmail()
	mine, theirs := c.signUp(t, email), c.signUp(t, other)
	link := func(token, provider, idToken string) answer {
		return c.send(t, call{Path: pathLinkOAuth, Token: token, Body: fields{"provider": provider, "idToken": idToken}})
	}
	unlink := func(token, provider string) answer {
		return c.send(t, call{Method: http.MethodDelete, Path: pathLinkOAuth + "/" + provider, Token: token})
	}
	const refused = "The provider does not accept this token for this account"
	require.Equal(t, refused, link(mine, "GOOGLE", "ya29.a0AfH6SMC").said(t, 400))
	require.Equal(t, refused, link(mine, "GOOGLE", o.idToken(t, "somebody-else", "sub-1", email)).said(t, 400))
	require.Equal(t, refused, link(mine, "GOOGLE", mine).said(t, 400))
	require.Equal(t, "This provider is not set up here", link(mine, "APPLE", "x").said(t, 400))
	got := link(mine, "GITHUB", "")
	require.Equal(t, "Validation failed", got.said(t, 422))
	require.Len(t, got.data(t), 2)
	require.Equal(t, "Email conflict with existing account", link(mine, "GOOGLE", o.idToken(t, o.oidc.ClientID, "sub-1", other)).said(t, 400))
	require.Zero(t, db.number(t, `SELECT count(*) FROM linked_providers`))

	token := o.idToken(t, o.oidc.ClientID, "sub-1", email)
	require.Equal(t, "GOOGLE linked successfully", link(mine, "GOOGLE", token).said(t, 200))
	require.Equal(t, refused, link(theirs, "GOOGLE", token).said(t, 400), "a replay")
	again := o.idToken(t, o.oidc.ClientID, "sub-1", "")
	require.Equal(t, "Provider already linked", link(theirs, "GOOGLE", again).said(t, 400))
	require.Equal(t, "Provider already linked", link(mine, "GOOGLE", o.idToken(t, o.oidc.ClientID, "sub-2", "")).said(t, 400))
	links := c.want(t, http.StatusOK, call{Path: pathProviders, Token: mine}).list(t)
	require.Equal(t, "sub-1", links[0]["provider_account_id"])

	require.Equal(t, "Validation failed", unlink(mine, "github").said(t, 422))
	require.Equal(t, "Provider is not linked", unlink(mine, "apple").said(t, 400))
	require.Equal(t, "Provider is not linked", unlink(theirs, "google").said(t, 400))
	got = unlink(mine, "Google")
	require.Equal(t, "GOOGLE unlinked", got.said(t, 200))
	require.Equal(t, "GOOGLE unlinked successfully", got.data(t)["message"])
	require.Equal(t, refused, link(theirs, "GOOGLE", token).said(t, 400), "a replay of what nobody has any more")
	testkit.Eventually(t, patience, func() bool { return len(c.inbox(t, email)) >= 4 }, "the owner is told of both")

	require.Equal(t, "GOOGLE linked successfully", link(mine, "GOOGLE", o.idToken(t, o.oidc.ClientID, "sub-1", "")).said(t, 200))
	_, err := db.Exec(t.Context(), `UPDATE accounts SET password_hash = NULL WHERE email = $1`, email)
	require.NoError(t, err)
	require.Equal(t, "Cannot unlink last auth provider", unlink(mine, "google").said(t, 400))
	_, err = db.Exec(t.Context(), `UPDATE sessions SET auth_time = now() - interval '11 minutes'`)
	require.NoError(t, err)
	require.Equal(t, "Sign in again to do this.", link(theirs, "GOOGLE", "ya29.x").said(t, 403))
	require.Equal(t, "Sign in again to do this.", unlink(mine, "google").said(t, 403))
}

// D25, and OAU-11 over all four routes that take a way to sign in away.
func TestUnlinkEmail_OAU11(t *testing.T) {
	t.Parallel()
	o := startOutside(t)
	s, _, _ := stacktest.StartAll(t, stacktest.Options{Env: o.settings()})
	db, c := openDatabase(t, s), newClient(s.BaseURL)
	email := newEmail()
	mine := c.signUp(t, email)
	username := newUsername()
	byName := func(pass string) answer {
		return c.send(t, call{Path: pathAuthenticate, Body: fields{"username": username, "password": pass}})
	}
	unlink := func() answer { return c.send(t, call{Method: http.MethodDelete, Path: pathLinkEmail, Token: mine}) }
	link := func(subject string) {
		t.Helper()
		body := fields{"provider": "GOOGLE", "idToken": o.idToken(t, o.oidc.ClientID, subject, "")}
		require.Equal(t, "GOOGLE linked successfully", c.send(t, call{Path: pathLinkOAuth, Token: mine, Body: body}).said(t, 200))
	}
	require.Equal(t, "Cannot unlink last auth provider", unlink().said(t, 400))
	link("sub-1")
	c.want(t, http.StatusOK, changeUsername(mine, username))
	require.Equal(t, http.StatusOK, byName(password).Status)
	got := unlink()
	require.Equal(t, "Email unlinked", got.said(t, 200))
	require.Equal(t, map[string]any{"unlinked": true, "message": "Email unlinked successfully"}, got.data(t))
	require.Equal(t, "No email is linked", unlink().said(t, 400))
	me := c.want(t, http.StatusOK, call{Path: pathMe, Token: mine}).object(t)
	require.Nil(t, me["email"])
	require.Equal(t, false, me["is_verified"])
	require.Nil(t, c.want(t, http.StatusOK, call{Path: "/v1/users/details", Token: mine}).object(t)["email"])
	testkit.Eventually(t, patience, func() bool {
		messages := c.inbox(t, email)
		return len(messages) > 0 && messages[0].Subject == "Your email address was unlinked from Gatehouse"
	}, "the owner is told at the former address")
	login := c.send(t, call{Path: pathLogin, Body: fields{"email": email, "password": password}})
	require.Equal(t, http.StatusUnauthorized, login.Status)
	wrong, right := byName("not-the-password-1"), byName(password)
	require.Equal(t, http.StatusUnauthorized, right.Status, "its password opens nothing by the username either: %s", right.Body)
	require.Equal(t, wrong.code(), right.code())
	require.Equal(t, wrong.text(t, "message"), right.text(t, "message"))
	require.Equal(t, http.StatusBadRequest, c.send(t, call{Method: http.MethodDelete, Path: pathLinkOAuth + "/google", Token: mine}).Status)
	checked := c.want(t, http.StatusOK, call{Path: "/api/v1/auth/check-email", Body: fields{"email": email}}).object(t)
	require.Equal(t, false, checked["exists"], "the address is free")

	for range 3 {
		_, err := db.Exec(t.Context(), `UPDATE accounts SET email = 'again@example.com' WHERE email IS NULL`)
		require.NoError(t, err)
		if db.number(t, `SELECT count(*) FROM linked_providers WHERE provider = 'google'`) == 0 {
			link("sub-1")
		}
		if db.number(t, `SELECT count(*) FROM linked_providers WHERE provider = 'github'`) == 0 {
			c.want(t, http.StatusOK, call{Path: pathProviders, Token: mine, Body: fields{
				"provider": "github", "provider_account_id": "7", "access_token": "gho_7",
			}})
		}
		paths := []string{pathProviders + "/google", pathLinked + "/github", pathLinkEmail, pathLinkOAuth + "/google"}
		atOnce(crowd, func(i int) {
			got, err := c.persist(t.Context(), call{Method: http.MethodDelete, Path: paths[i%len(paths)], Token: mine})
			if err != nil || got.Status != 200 && got.Status != 400 && got.Status != 404 {
				t.Errorf("%v %d %s", err, got.Status, got.Body)
			}
		})
		require.Equal(t, 1, db.number(t, `
			SELECT (SELECT count(*) FROM linked_providers l WHERE l.account_id = a.id)::int + (email IS NOT NULL)::int FROM accounts a
			WHERE email IS NULL OR email = 'again@example.com'`))
	}
}
