//go:build unix

package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/browser"
)

// The page of a change of email tells whoever opens it that it is no sign-up; that of any other link says what it always did.
func TestPageOfAChangedEmail(t *testing.T) {
	t.Parallel()
	b := findBrowser(t)
	s := startSystem(t)
	token, next := s.signUp(t, newEmail()), newEmail()
	const change, signup = "Make this the address of an existing account?", "Press the button to confirm that this address is yours."
	page := func(url, wait string) browser.Page { return browser.Page{URL: url, Wait: []string{wait}} }
	seen, err := b.Look(t.Context(),
		page(linkOf(t, s.move(t, token, next)), change),
		page(s.base+"/confirm-email?token=t", signup),
		page(s.base+"/confirm-email?for=constructor&token=t", signup),
	)
	require.NoError(t, err)
	for i, p := range seen {
		require.Empty(t, p.Missing, p.Text)
		if i > 0 {
			require.NotContains(t, p.Text, "existing")
			continue
		}
		require.Contains(t, p.Text, "This is no sign-up.")
		require.Contains(t, p.Text, "Give the account my address")
		require.NotContains(t, p.Text, signup)
	}
}
