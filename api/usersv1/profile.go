package usersv1

import (
	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/api/endpoint"
)

type detailsBody struct {
	UserID       uuid.UUID        `json:"userId"`
	Username     string           `json:"username"`
	Email        *string          `json:"email"`
	DisplayName  *string          `json:"displayName"`
	Avatar       *string          `json:"avatar"`
	CreatedAt    string           `json:"createdAt"`
	Subscription detailedPlanBody `json:"subscription"`
}

type detailedPlanBody struct {
	planBody
	ExpiresAt *string `json:"expiresAt"`
}

func newDetailsBody(p account.Principal) any {
	a := p.Account
	return &detailsBody{
		UserID: a.ID, Username: a.DisplayUsername(), Email: a.Email,
		DisplayName: a.Profile.FullName, Avatar: a.Profile.AvatarURL, CreatedAt: endpoint.Stamp(a.CreatedAt),
		Subscription: detailedPlanBody{
			planBody: newPlanBody(p.Subscription), ExpiresAt: endpoint.StampOrNil(p.Subscription.PeriodEnd),
		},
	}
}
