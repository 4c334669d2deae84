package identity

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"gatehouse/account"
)

const githubAPI = "https://api.github.com"

// gitHub speaks no OpenID Connect: its REST API tells whose a token is.
type gitHub struct {
	api, clientID, clientSecret string
	client                      *http.Client
}

func openGitHub(s Settings, _ account.Clock) Provider {
	return &gitHub{
		api: trimSlash(s.GitHubAPIURL), clientID: s.GitHubClientID, clientSecret: s.GitHubClientSecret, client: newClient(),
	}
}

// Owner leaves EmailVerified unset: the address of a profile is what its owner wrote there.
func (g *gitHub) Owner(ctx context.Context, accessToken string) (Identity, error) {
	if err := g.ours(ctx, accessToken); err != nil {
		return Identity{}, err
	}
	var u struct {
		ID     int64  `json:"id"`
		Login  string `json:"login"`
		Email  string `json:"email"`
		Name   string `json:"name"`
		Avatar string `json:"avatar_url"`
	}
	if err := get(ctx, g.client, g.api+"/user", accessToken, &u); err != nil {
		return Identity{}, err
	}
	if u.ID == 0 {
		return Identity{}, account.ErrInvalidProviderToken.Because(errors.New("identity: the provider named nobody"))
	}
	if u.Name == "" {
		u.Name = u.Login
	}
	return Identity{Subject: strconv.FormatInt(u.ID, 10), Email: u.Email, Name: u.Name, AvatarURL: u.Avatar}, nil
}

// Verify refuses every token: GitHub signs none.
func (g *gitHub) Verify(context.Context, string) (Assertion, error) {
	return Assertion{}, account.ErrInvalidProviderToken
}

// ours refuses tokens that GitHub made for somebody else's application. Only GitHub itself is asked, and only with a secret.
func (g *gitHub) ours(ctx context.Context, accessToken string) error {
	if g.api != githubAPI || g.clientSecret == "" {
		return nil
	}
	body, err := json.Marshal(map[string]string{"access_token": accessToken})
	if err != nil {
		return err
	}
	address := g.api + "/applications/" + url.PathEscape(g.clientID) + "/token"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return unreachable(err)
	}
	request.SetBasicAuth(g.clientID, g.clientSecret)
	var known struct{}
	return ask(g.client, request, &known)
}

// AuthorizeURL derives the page from the API's address: GitHub's own, or that of an enterprise server.
func (g *gitHub) AuthorizeURL(_ context.Context, redirect, state string) (string, error) {
	site := strings.TrimSuffix(g.api, "/api/v3")
	if g.api == githubAPI {
		site = "https://github.com"
	}
	return authorizeURL(site+"/login/oauth/authorize", g.clientID, redirect, "read:user user:email", state)
}
