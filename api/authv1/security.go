package authv1

import "gatehouse/core"

type securityOverviewBody struct {
	PrimaryMethod   string   `json:"primary_method"`
	HasPassword     bool     `json:"has_password"`
	LinkedProviders []string `json:"linked_providers"`
	CanAddPassword  bool     `json:"can_add_password"`
	EmailVerified   bool     `json:"email_verified"`
}

func newSecurityOverviewBody(o core.SecurityOverview) any {
	return securityOverviewBody{
		PrimaryMethod: o.PrimaryMethod, HasPassword: o.HasPassword, LinkedProviders: listed(o.Providers),
		CanAddPassword: !o.HasPassword, EmailVerified: o.EmailVerified,
	}
}

// listed is names as an array, also when there are none.
func listed(names []string) []string { return append([]string{}, names...) }
