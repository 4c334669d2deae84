package identity

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"gatehouse/account"
)

// scriptRedirect is what Google's own script asks for codes with; no browser is sent there.
const scriptRedirect = "postmessage"

func (p *openID) Exchange(ctx context.Context, code, verifier string) (Assertion, error) {
	e, err := p.discover(ctx)
	if err != nil {
		return Assertion{}, err
	}
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {p.redirect},
		"client_id": {p.clientID}, "client_secret": {p.secret},
	}
	if verifier != "" {
		form.Set("code_verifier", verifier)
	}
	idToken, err := p.trade(ctx, e.token, form)
	if err != nil {
		return Assertion{}, err
	}
	return p.Verify(ctx, idToken)
}

// trade returns the ID token that the vendor gives for a form.
func (p *openID) trade(ctx context.Context, address string, form url.Values) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return "", unreachable(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	answer, err := p.client.Do(request)
	if err != nil {
		return "", unreachable(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var said struct {
		IDToken string `json:"id_token"`
		Error   string `json:"error"`
	}
	unreadable := json.NewDecoder(answer.Body).Decode(&said) != nil
	switch {
	case answer.StatusCode == http.StatusOK && !unreadable && said.IDToken != "":
		return said.IDToken, nil
	// RFC 6749, 5.2: what is wrong is the code. All else that is wrong is for us to mend, or passes.
	case answer.StatusCode/100 == 4 && (said.Error == "invalid_grant" || said.Error == "invalid_request"):
		return "", account.ErrInvalidProviderToken.Because(errors.New("identity: the provider does not accept the code"))
	case said.Error == "invalid_client" || said.Error == "unauthorized_client" || said.Error == "redirect_uri_mismatch":
		return "", account.ErrUnavailable.Because(errors.New("identity: the provider does not accept this application: " + said.Error))
	default:
		return "", account.ErrUnavailable.Because(errors.New("identity: the provider gave no answer to a code"))
	}
}

func (p *openID) SignInURL(ctx context.Context, state, challenge string) (string, error) {
	if p.redirect == "" || p.redirect == scriptRedirect {
		return "", account.ErrProviderNotConfigured
	}
	page, err := p.AuthorizeURL(ctx, p.redirect, state)
	if err != nil || challenge == "" {
		return page, err
	}
	return page + "&code_challenge_method=S256&code_challenge=" + url.QueryEscape(challenge), nil
}
