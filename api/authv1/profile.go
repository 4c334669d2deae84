package authv1

import (
	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

type changeMeRequest struct {
	FullName       *string `json:"full_name"`
	UserType       *string `json:"user_type"`
	AudioUsage     *string `json:"audio_usage"`
	ReferralSource *string `json:"referral_source"`
	PhoneNumber    *string `json:"phone_number"`
	CountryCode    *string `json:"country_code"`
}

func (r changeMeRequest) input() core.ChangeProfileInput { return core.ChangeProfileInput(r) }

type profileBody struct {
	ID               uuid.UUID `json:"id"`
	Email            *string   `json:"email"`
	Name             *string   `json:"name"`
	AvatarURL        *string   `json:"avatar_url"`
	CreatedAt        string    `json:"created_at"`
	SubscriptionTier string    `json:"subscription_tier"`
}

func newProfileBody(p account.Principal) any {
	a := p.Account
	return &profileBody{
		ID: a.ID, Email: a.Email, Name: a.Profile.FullName, AvatarURL: a.Profile.AvatarURL,
		CreatedAt: endpoint.Stamp(a.CreatedAt), SubscriptionTier: p.Subscription.Plan.Code,
	}
}

type updateProfileRequest struct {
	Name  *string `json:"name"`
	Email *string `json:"email"`
}

func (r updateProfileRequest) input() core.UpdateProfileInput { return core.UpdateProfileInput(r) }

type onboardingRequest struct {
	Event  string `json:"event"`
	AtStep *int64 `json:"at_step"`
}

func (r onboardingRequest) input() core.RecordOnboardingInput {
	return core.RecordOnboardingInput{Event: r.Event, AtStep: r.AtStep}
}

func newDoneBody(core.None) any { return statusBody{Status: "ok"} }
