package authv1

import (
	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/api/endpoint"
)

// meBody is the union of what A01 and C16 show (contract X01).
type meBody struct {
	ID                  uuid.UUID        `json:"id"`
	Email               *string          `json:"email"`
	FullName            *string          `json:"full_name"`
	IsActive            bool             `json:"is_active"`
	IsSuperuser         bool             `json:"is_superuser"`
	IsVerified          bool             `json:"is_verified"`
	CreatedAt           string           `json:"created_at"`
	UpdatedAt           string           `json:"updated_at"`
	Image               *string          `json:"image"`
	UserType            *string          `json:"user_type"`
	AudioUsage          *string          `json:"audio_usage"`
	OnboardingCompleted bool             `json:"onboarding_completed"`
	ReferralSource      *string          `json:"referral_source"`
	PhoneNumber         *string          `json:"phone_number"`
	CountryCode         *string          `json:"country_code"`
	PhoneVerified       bool             `json:"phone_verified"`
	Credits             creditsBody      `json:"credits"`
	Subscription        subscriptionBody `json:"subscription"`
	DiscountEligible    bool             `json:"is_eligible_for_first_time_discount"`
	DiscountActive      bool             `json:"first_time_discount_active"`
	Name                *string          `json:"name"`
	AvatarURL           *string          `json:"avatar_url"`
	SubscriptionTier    string           `json:"subscription_tier"`
}

type creditsBody struct {
	Balance         int64              `json:"credits_balance"`
	PayAsYouGo      int64              `json:"payg_balance"`
	Available       int64              `json:"total_available_credits"`
	LastResetAt     string             `json:"last_reset_at"`
	TotalUsed       int64              `json:"total_credits_used"`
	TotalPurchased  int64              `json:"total_payg_credits_purchased"`
	NextResetDate   string             `json:"next_reset_date"`
	CreditsPerMonth int64              `json:"credits_per_month"`
	Multipliers     map[string]float64 `json:"credit_multipliers"`
}

type subscriptionBody struct {
	PlanID             string  `json:"plan_id"`
	PlanName           string  `json:"plan_name"`
	IsFreePlan         bool    `json:"is_free_plan"`
	Status             string  `json:"status"`
	CurrentPeriodStart string  `json:"current_period_start"`
	CurrentPeriodEnd   string  `json:"current_period_end"`
	CancelAt           *string `json:"cancel_at"`
}

func newMeBody(p account.Principal) any {
	a := p.Account
	return &meBody{
		ID: a.ID, Email: a.Email, FullName: a.Profile.FullName, IsActive: a.Active, IsSuperuser: p.Admin(),
		IsVerified: a.EmailVerified, CreatedAt: endpoint.Stamp(a.CreatedAt), UpdatedAt: endpoint.Stamp(a.UpdatedAt),
		Image: a.Profile.AvatarURL, UserType: a.Profile.UserType, AudioUsage: a.Profile.AudioUsage,
		OnboardingCompleted: a.OnboardingDone, ReferralSource: a.Profile.ReferralSource,
		PhoneNumber: a.PhoneNumber, CountryCode: a.CountryCode, PhoneVerified: a.PhoneVerified,
		Credits: newCreditsBody(p), Subscription: newSubscriptionBody(p),
		DiscountEligible: p.Credits.DiscountEligible, DiscountActive: p.Credits.DiscountActive,
		Name: a.Profile.FullName, AvatarURL: a.Profile.AvatarURL, SubscriptionTier: p.Subscription.Plan.Code,
	}
}

func newCreditsBody(p account.Principal) creditsBody {
	c := p.Credits
	return creditsBody{
		Balance: c.Balance, PayAsYouGo: c.PayAsYouGo, Available: c.Balance + c.PayAsYouGo,
		LastResetAt: endpoint.Stamp(c.LastResetAt), TotalUsed: c.TotalUsed, TotalPurchased: c.TotalPurchased,
		NextResetDate: endpoint.Stamp(c.NextResetAt), CreditsPerMonth: p.Subscription.Plan.CreditsPerMonth,
		Multipliers: c.MultiplierByAction,
	}
}

// newSubscriptionBody ends the period of the free plan with the month of its credits: the document knows no period
// without an end.
func newSubscriptionBody(p account.Principal) subscriptionBody {
	s := p.Subscription
	end := p.Credits.NextResetAt
	if s.PeriodEnd != nil {
		end = *s.PeriodEnd
	}
	return subscriptionBody{
		PlanID: s.Plan.ID, PlanName: s.Plan.Name, IsFreePlan: s.Plan.Free, Status: s.Status,
		CurrentPeriodStart: endpoint.Stamp(s.PeriodStart), CurrentPeriodEnd: endpoint.Stamp(end),
		CancelAt: endpoint.StampOrNil(s.CancelAt),
	}
}
