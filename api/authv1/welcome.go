package authv1

import (
	"strconv"

	"gatehouse/account"
	"gatehouse/core"
)

type welcomeBody struct {
	Reduced   bool  `json:"reduced"`
	FullBonus int64 `json:"full_bonus"`
	Received  int64 `json:"received"`
	Remaining int64 `json:"remaining"`
	// SiblingAccounts are labels without a meaning anywhere else (security.md PRE-11).
	SiblingAccounts []string `json:"sibling_accounts"`
	CanUnlock       bool     `json:"can_unlock"`
}

func newWelcomeBody(w account.Welcome) any {
	labels := make([]string, w.Siblings)
	for i := range labels {
		labels[i] = "account-" + strconv.Itoa(i+1)
	}
	return welcomeBody{
		Reduced: w.Reduced, FullBonus: w.Full, Received: w.Received, Remaining: w.Remaining(), SiblingAccounts: labels,
		CanUnlock: w.Unlockable,
	}
}

type unlockedBody struct {
	Status         string `json:"status"`
	CreditsAwarded int64  `json:"credits_awarded"`
	Received       int64  `json:"received"`
}

func newUnlockedBody(u core.Unlocked) any {
	return unlockedBody{Status: "ok", CreditsAwarded: u.Granted, Received: u.Welcome.Received}
}
