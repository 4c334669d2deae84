//go:build unix

package e2e_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/oauth2-proxy/mockoidc"
	"github.com/stretchr/testify/require"
)

const (
	pathGoogle      = "/v1/auth/google"
	pathGoogleBegin = pathGoogle + "/authorize"
	redirectPage    = "https://app.example.com/back"
	codeVerifier    = "a-code-verifier-of-at-least-forty-three-characters"
)

// visitor is somebody at the OpenID provider, with whatever that says of the address.
type visitor struct {
	subject, email string
	verified       any
}

func (v visitor) ID() string { return v.subject }

func (v visitor) Userinfo([]string) ([]byte, error) {
	return json.Marshal(map[string]any{"sub": v.subject})
}

func (v visitor) Claims(_ []string, base *mockoidc.IDTokenClaims) (jwt.Claims, error) {
	claims := jwt.MapClaims{
		"iss": base.Issuer, "aud": base.Audience, "sub": v.subject, "email": v.email, "exp": base.ExpiresAt, "iat": base.IssuedAt, "name": "Jane Doe",
	}
	if v.verified != nil {
		claims["email_verified"] = v.verified
	}
	return claims, nil
}

// googleSystem is a system with a local Google. One visitor at a time comes to its page.
type googleSystem struct {
	*system
	oidc *mockoidc.MockOIDC
	page sync.Mutex
}

func startGoogle(t *testing.T, settings ...string) *googleSystem {
	t.Helper()
	o := startOutside(t)
	return &googleSystem{oidc: o.oidc, system: startSystem(t, append([]string{
		"GATEHOUSE_GOOGLE_ISSUER", o.oidc.Issuer(), "GATEHOUSE_GOOGLE_CLIENT_ID", o.oidc.ClientID,
		"GATEHOUSE_GOOGLE_CLIENT_SECRET", o.oidc.ClientSecret, "GATEHOUSE_GOOGLE_REDIRECT_URL", redirectPage,
		"GATEHOUSE_ALLOWED_ORIGINS", pageOrigin,
	}, settings...)...)}
}

// visit sends somebody to the sign-in page and returns what they come back with.
func (g *googleSystem) visit(t testing.TB, who visitor, page string) url.Values {
	t.Helper()
	g.page.Lock()
	defer g.page.Unlock()
	g.oidc.QueueUser(who)
	g.oidc.QueueCode(uuid.NewString())
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, page, nil)
	require.NoError(t, err)
	got, err := client.Do(request)
	require.NoError(t, err)
	require.NoError(t, got.Body.Close())
	back, err := got.Location()
	require.NoError(t, err)
	require.Equal(t, redirectPage, back.Scheme+"://"+back.Host+back.Path)
	return back.Query()
}

// code is an authorization code of somebody, asked for without our help.
func (g *googleSystem) code(t testing.TB, who visitor) string {
	t.Helper()
	return g.visit(t, who, g.oidc.AuthorizationEndpoint()+"?"+url.Values{
		"client_id": {g.oidc.ClientID}, "response_type": {"code"}, "scope": {"openid email profile"}, "state": {"x"}, "redirect_uri": {redirectPage},
	}.Encode()).Get("code")
}

func newVisitor() visitor {
	return visitor{subject: uuid.NewString(), email: newEmail(), verified: true}
}

func (g *googleSystem) google(t testing.TB, code string, more ...string) answer {
	t.Helper()
	body := fields{"code": code}
	for i := 0; i+1 < len(more); i += 2 {
		body[more[i]] = more[i+1]
	}
	return g.send(t, call{Path: pathGoogle, Body: body})
}

func (g *googleSystem) refusedCode(t *testing.T, got answer) {
	t.Helper()
	require.Equal(t, http.StatusUnauthorized, got.Status, "%s", got.Body)
	require.Equal(t, "invalid_credentials", got.code())
	require.Equal(t, "Invalid authorization code", got.text(t, "message"))
}

func TestGoogle(t *testing.T) {
	t.Parallel()
	g := startGoogle(t)
	playAll(t, g, map[string]func(*testing.T, *googleSystem){
		"B09_SignUpAndIn":                   googleSignIn,
		"B09_PKCEAndState":                  googleProofs,
		"B09_X13_SecondStep":                googleSecondStep,
		"PRE-01_TheSquatterDiesAtTheProof":  googleSquatter,
		"PRE-03_NothingOfTheSquatterIsLeft": googleTrojan,
		"PRE-05_AddressNobodyVouchesFor":    googleUnvouched,
		"OAU-09_TheIdOfAnotherProvider":     googleOtherProvider,
		"OAU-05_AddressesOpenNothing":       googleNoMerge,
		"ENU-01_AccountsThatMayNotBeUsed":   googleUnusable,
		"OTP-13_ContactsOfAThief":           googleThiefsContacts,
		"OAU-07_AnothersIdLinkedBeforehand": googleLinkedBeforehand,
		"unset":                             googleUnset,
	})
}

func googleUnset(t *testing.T, g *googleSystem) {
	other := g.replica(t, "127.0.0.77", "GATEHOUSE_GOOGLE_CLIENT_ID", "")
	other.refused(t, http.StatusBadRequest, "provider_not_configured", call{Path: pathGoogle, Body: fields{"code": "x"}})
	other.refused(t, http.StatusBadRequest, "provider_not_configured", call{Path: pathGoogleBegin, Body: fields{}})
}

func googleSignIn(t *testing.T, g *googleSystem) {
	who := newVisitor()
	code := g.code(t, who)
	got := g.send(t, call{Path: pathGoogle, Body: fields{"code": code, "marketingOptInState": true}})
	require.Equal(t, http.StatusOK, got.Status, "%s", got.Body)
	require.Len(t, got.object(t), 5)
	require.Equal(t, []string{who.email, who.email, "Registration successful"},
		[]string{got.text(t, "username"), got.text(t, "email"), got.text(t, "message")})
	token := got.text(t, "token")
	g.requireAlive(t, token)
	me := g.want(t, http.StatusOK, call{Path: pathMe, Token: token}).object(t)
	require.Equal(t, true, me["is_verified"])
	require.Equal(t, "Jane Doe", me["full_name"])
	g.refusedCode(t, g.google(t, code))

	again := g.google(t, g.code(t, visitor{who.subject, newEmail(), true}))
	require.Equal(t, "Login successful", again.text(t, "message"))
	require.Equal(t, got.text(t, "userId"), again.text(t, "userId"), "the id alone identifies")
	require.Equal(t, who.email, again.text(t, "email"))
	require.Equal(t, 1, g.db.number(t, `SELECT count(*) FROM accounts WHERE email = $1 AND marketing_opt_in AND primary_provider = 'google'`, who.email))
	g.refusedCode(t, g.google(t, "guessed"))
	g.refused(t, http.StatusBadRequest, "invalid_request", call{Path: pathGoogle, Body: fields{}})
	g.refused(t, http.StatusBadRequest, "invalid_request", call{Path: pathGoogle, Body: fields{"code": "x", "codeVerifier": "short"}})

	// The same key gets the same answer, though the code is used up.
	body := fields{"code": g.code(t, who)}
	first := g.want(t, http.StatusOK, call{Path: pathGoogle, Body: body, Key: "once"})
	require.Equal(t, string(first.Body), string(g.want(t, http.StatusOK, call{Path: pathGoogle, Body: body, Key: "once"}).Body))
}

func googleProofs(t *testing.T, g *googleSystem) {
	challenge, err := mockoidc.GenerateCodeChallenge("S256", codeVerifier)
	require.NoError(t, err)
	begin := func() (url.Values, string) {
		body, err := json.Marshal(fields{"codeChallenge": challenge})
		require.NoError(t, err)
		got := g.raw(t, "POST", pathGoogleBegin, string(body), "Origin", pageOrigin)
		require.Equal(t, http.StatusOK, got.Status, "%s", got.Body)
		cookie, err := http.ParseSetCookie(got.Header.Get("Set-Cookie"))
		require.NoError(t, err)
		require.Equal(t, got.text(t, "state"), cookie.Value)
		back := g.visit(t, newVisitor(), got.text(t, "authUrl"))
		require.Equal(t, cookie.Value, back.Get("state"))
		return back, cookie.Name + "=" + cookie.Value
	}
	finish := func(back url.Values, cookie, origin, verifier string) answer {
		body := fields{"code": back.Get("code"), "codeVerifier": verifier}
		if state := back.Get("state"); state != "" {
			body["state"] = state
		}
		sent, err := json.Marshal(body)
		require.NoError(t, err)
		return g.raw(t, "POST", pathGoogle, string(sent), "Origin", origin, "Cookie", cookie)
	}
	back, cookie := begin()
	other, foreign := begin()
	g.refusedCode(t, finish(back, foreign, pageOrigin, codeVerifier)) // somebody else's code in my browser
	g.refusedCode(t, finish(back, "", pageOrigin, codeVerifier))
	g.refusedCode(t, finish(back, cookie, "https://evil.example", codeVerifier))
	bare := url.Values{"code": back["code"]}
	g.refusedCode(t, finish(bare, cookie, pageOrigin, codeVerifier))
	require.Equal(t, http.StatusOK, finish(back, cookie, pageOrigin, codeVerifier).Status, "none of these used the code up")
	g.refusedCode(t, finish(other, foreign, pageOrigin, codeVerifier+"x"))
	stolen, cookie := begin()
	sent, err := json.Marshal(fields{"code": stolen.Get("code"), "state": stolen.Get("state")})
	require.NoError(t, err)
	g.refusedCode(t, g.raw(t, "POST", pathGoogle, string(sent), "Origin", pageOrigin, "Cookie", cookie))
}

// A second step is due at every door (contract X13).
func googleSecondStep(t *testing.T, g *googleSystem) {
	who := newVisitor()
	require.Equal(t, http.StatusOK, g.google(t, g.code(t, who)).Status)
	got := g.raw(t, "POST", pathGoogle, `{"code":"`+g.code(t, who)+`"}`, "X-Device-Id", "another-phone")
	require.Equal(t, http.StatusOK, got.Status, "%s", got.Body)
	require.Equal(t, true, got.object(t)["mfaRequired"])
	require.NotEmpty(t, got.text(t, "deviceVerificationToken"))
	g.refused(t, http.StatusForbidden, "mfa_required", call{Path: pathMe, Token: got.text(t, "token")})
	_, err := g.db.Exec(t.Context(), `UPDATE accounts SET two_factor_enabled = true WHERE email = $1`, who.email)
	require.NoError(t, err)
	got = g.google(t, g.code(t, who))
	require.Equal(t, true, got.object(t)["mfaRequired"])
	g.refused(t, http.StatusForbidden, "mfa_required", call{Path: pathDetails, Token: got.text(t, "token")})
}

func googleSquatter(t *testing.T, g *googleSystem) {
	victim := newVisitor()
	squatted := g.register(t, "u"+strings.ReplaceAll(uuid.NewString(), "-", "")[:20], victim.email)
	old := pairOf(t, g.authenticate(t, victim.email, password))
	got := g.google(t, g.code(t, victim))
	require.Equal(t, "Registration successful", got.text(t, "message"))
	g.requireDead(t, squatted)
	g.requireDead(t, old.access)
	g.refusedRefresh(t, old.refresh)
	require.Equal(t, http.StatusUnauthorized, g.authenticate(t, victim.email, password).Status)
	require.Equal(t, 1, g.db.number(t, accounts, victim.email))
	require.Equal(t, victim.email, got.text(t, "username"))
}

func googleTrojan(t *testing.T, g *googleSystem) {
	victim := newVisitor()
	squatted := g.register(t, "u"+strings.ReplaceAll(uuid.NewString(), "-", "")[:20], victim.email)
	g.refused(t, http.StatusForbidden, "email_not_verified", call{Method: "POST", Path: pathPushToken(newPushToken()), Token: squatted})
	g.want(t, http.StatusOK, call{Method: "PATCH", Path: pathSettings, Token: squatted, Body: fields{"theme": "light"}})
	g.want(t, http.StatusOK, call{Method: "PATCH", Path: pathDataProviders, Token: squatted, Body: fields{
		"dataProviders": []fields{{"name": "evil", "enabled": true}},
	}})
	token := g.google(t, g.code(t, victim)).text(t, "token")
	require.JSONEq(t, documentedSettings, string(g.want(t, http.StatusOK, call{Path: pathSettings, Token: token}).Body))
	require.JSONEq(t, `{"dataProviders":[]}`, string(g.want(t, http.StatusOK, call{Path: pathDataProviders, Token: token}).Body))
}

func googleUnvouched(t *testing.T, g *googleSystem) {
	for _, verified := range []any{false, nil, "false", 1, "yes"} {
		stranger := newVisitor()
		stranger.verified = verified
		got := g.google(t, g.code(t, stranger))
		require.Equal(t, http.StatusForbidden, got.Status, "%s", got.Body)
		require.Equal(t, "email_not_verified", got.code())
		require.Zero(t, g.db.number(t, accounts, stranger.email))

		member := newVisitor()
		member.verified = verified
		g.signUp(t, member.email)
		got = g.google(t, g.code(t, member))
		require.Equal(t, "identity_already_used", got.code(), "%s", got.Body)

		squatted := newVisitor()
		squatted.verified = verified
		token := g.register(t, "u"+strings.ReplaceAll(uuid.NewString(), "-", "")[:20], squatted.email)
		require.Equal(t, "email_not_verified", g.google(t, g.code(t, squatted)).code())
		g.requireAlive(t, token)
	}
	// Without any address nothing is made either.
	require.Equal(t, "email_not_verified", g.google(t, g.code(t, visitor{uuid.NewString(), "", true})).code())
}

func googleOtherProvider(t *testing.T, g *googleSystem) {
	who := newVisitor()
	token := g.signUp(t, newEmail())
	_, err := g.db.Exec(t.Context(), `INSERT INTO linked_providers (account_id, provider, provider_account_id)
		SELECT a.id, p, $2 FROM sessions s JOIN accounts a ON a.id = s.account_id, unnest(ARRAY['github', 'apple']) p
		WHERE s.id = $1`, g.sessionID(t, token), who.subject)
	require.NoError(t, err)
	got := g.google(t, g.code(t, who))
	require.Equal(t, "Registration successful", got.text(t, "message"))
	require.Equal(t, who.email, got.text(t, "email"))
}

func googleNoMerge(t *testing.T, g *googleSystem) {
	owner := newVisitor()
	token := g.signUp(t, owner.email)
	got := g.google(t, g.code(t, owner))
	require.Equal(t, http.StatusBadRequest, got.Status)
	require.Equal(t, "identity_already_used", got.code())
	require.Zero(t, g.db.number(t, `SELECT count(*) FROM linked_providers WHERE provider_account_id = $1`, owner.subject))
	g.requireMail(t, owner.email, "Somebody tried to sign in with an outside account")
	// Linked by its owner it opens the account.
	idToken, err := g.oidc.Keypair.SignJWT(jwt.MapClaims{
		"iss": g.oidc.Issuer(), "aud": g.oidc.ClientID, "sub": owner.subject, "email": owner.email, "email_verified": true,
		"iat": jwt.NewNumericDate(g.oidc.Now()), "exp": jwt.NewNumericDate(g.oidc.Now().Add(patience)), "jti": uuid.NewString(),
	})
	require.NoError(t, err)
	g.want(t, http.StatusOK, call{Path: pathLinkOAuth, Token: token, Body: fields{"provider": "GOOGLE", "idToken": idToken}})
	require.Equal(t, "Login successful", g.google(t, g.code(t, owner)).text(t, "message"))
}

// Whoever stole a session links an outside account of their own, their address and their number. Signed in anew by the one, they
// get no code to the others; who signs in by the password does.
func googleThiefsContacts(t *testing.T, g *googleSystem) {
	email, address, number, thief := newEmail(), newEmail(), newNumber(t), newVisitor()
	g.signUp(t, email)
	stolen := g.signedIn(t, email, password)
	idToken := (&outside{oidc: g.oidc}).idToken(t, g.oidc.ClientID, thief.subject, thief.email)
	g.want(t, http.StatusOK, call{Path: pathLinkOAuth, Token: stolen, Body: fields{"provider": "GOOGLE", "idToken": idToken}})
	g.sendPhoneCode(t, stolen, number)
	g.want(t, http.StatusOK, phoneProof(stolen, number, g.awaitPhoneCode(t, number, 1)))
	temp, code := g.link(t, stolen, address)
	g.want(t, http.StatusOK, verifyLink(stolen, temp, code))
	again := g.google(t, g.code(t, thief)).text(t, "token")
	for channel, none := range map[string]string{"EMAIL": "No verified email", "SMS": "No verified phone number", "WHATSAPP": "No verified phone number"} {
		for _, token := range []string{stolen, again} {
			g.refuses(t, http.StatusBadRequest, none, call{Path: pathSendOTP, Token: token, Body: fields{"channel": channel}})
		}
	}
	g.sendOTP(t, g.signedIn(t, address, password), "EMAIL")
}

// Where requests must be signed, nobody links the id of somebody else who has yet to sign in for the first time.
func googleLinkedBeforehand(t *testing.T, g *googleSystem) {
	service := strings.TrimSpace(g.stack.Command(t, nil, "keys", "create", "--service", "--name", "links"))
	strict := g.replica(t, "127.0.0.78", "GATEHOUSE_REQUIRE_ASSERTION", "true")
	victim, token := newVisitor(), strict.signUp(t, newEmail())
	key := strict.apiKey(t, token, "account:security")
	state := func(token string) string {
		return strict.want(t, http.StatusOK, call{Path: pathLinked + "/initiate", Token: token, Body: fields{"provider": "google"}}).text(t, "state")
	}
	body := func(state, subject string) string {
		raw, err := json.Marshal(fields{"state": state, "provider": "google", "provider_account_id": subject})
		require.NoError(t, err)
		return string(raw)
	}
	begun := state(token)
	for _, path := range []string{pathLinked + "/callback", pathLinked + "/complete"} {
		for by, state := range map[string]string{token: begun, key: state(key), service: begun} {
			got := strict.raw(t, "POST", path, body(state, victim.subject), "Authorization", "Bearer "+by)
			require.Equal(t, http.StatusUnauthorized, got.Status, "%s", got.Body)
			require.Equal(t, "invalid_assertion", got.text(t, "error"))
		}
	}
	require.Equal(t, "Registration successful", g.google(t, g.code(t, victim)).text(t, "message"), "an account of their own")
	own := body(begun, uuid.NewString())
	for _, want := range []int{http.StatusOK, http.StatusBadRequest} {
		got := strict.raw(t, "POST", pathLinked+"/complete", own, "Authorization", "Bearer "+service, "X-Assertion", assertion(service, own))
		require.Equal(t, want, got.Status, "the state was not used up, and is now: %s", got.Body)
	}
	require.Equal(t, 1, g.db.number(t, `SELECT count(*) FROM linked_providers l JOIN sessions s USING (account_id) WHERE s.id = $1`, g.sessionID(t, token)))
}

// assertion signs a body with a service key.
func assertion(key, body string) string {
	at, nonce := time.Now().Unix(), uuid.NewString()
	mac := hmac.New(sha256.New, []byte(key))
	_, _ = fmt.Fprintf(mac, "%d.%s.%s", at, nonce, body)
	return fmt.Sprintf("t=%d,n=%s,sig=%x", at, nonce, mac.Sum(nil))
}

func googleUnusable(t *testing.T, g *googleSystem) {
	who := newVisitor()
	require.Equal(t, http.StatusOK, g.google(t, g.code(t, who)).Status)
	g.db.change(t, `UPDATE accounts SET is_active = false, is_locked = true WHERE email = $1`, who.email)
	g.refusedCode(t, g.google(t, g.code(t, who)))
}

// TestGoogle_Hidden tells nobody who has not proven an address whether it has an account.
func TestGoogle_Hidden(t *testing.T) {
	t.Parallel()
	g := startGoogle(t, "GATEHOUSE_ENUMERATION", "hidden")
	for _, known := range []bool{true, false} {
		who := newVisitor()
		who.verified = false
		if known {
			g.signUp(t, who.email)
		}
		got := g.google(t, g.code(t, who))
		require.Equal(t, http.StatusForbidden, got.Status)
		require.Equal(t, "email_not_verified", got.code())
	}
}
