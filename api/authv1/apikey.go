package authv1

import (
	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

type createAPIKeyRequest struct {
	Name   string        `json:"name"`
	Scopes endpoint.List `json:"scopes"`
}

func (r createAPIKeyRequest) input() core.CreateAPIKeyInput {
	return core.CreateAPIKeyInput{Name: r.Name, Scopes: r.Scopes}
}

type newAPIKeyBody struct {
	ID        uuid.UUID       `json:"id"`
	Name      string          `json:"name"`
	Scopes    []account.Scope `json:"scopes"`
	Key       string          `json:"key"`
	CreatedAt string          `json:"created_at"`
}

func newCreatedAPIKeyBody(k core.NewAPIKey) any {
	return newAPIKeyBody{ID: k.ID, Name: k.Name, Scopes: k.Scopes, Key: k.Secret, CreatedAt: endpoint.Stamp(k.CreatedAt)}
}

type apiKeyBody struct {
	ID         uuid.UUID       `json:"id"`
	Name       string          `json:"name"`
	Scopes     []account.Scope `json:"scopes"`
	CreatedAt  string          `json:"created_at"`
	LastUsedAt *string         `json:"last_used_at"`
}

func newAPIKeysBody(keys []account.APIKey) any {
	body := make([]apiKeyBody, len(keys))
	for i, k := range keys {
		body[i] = apiKeyBody{k.ID, k.Name, k.Scopes, endpoint.Stamp(k.CreatedAt), endpoint.StampOrNil(k.LastUsedAt)}
	}
	return body
}

type revokeAPIKeyRequest struct {
	ID string `path:"id"`
}

func (r revokeAPIKeyRequest) input() core.RevokeAPIKeyInput { return core.RevokeAPIKeyInput{ID: r.ID} }

func newNothing(core.None) any { return nil }
