package site

import (
	_ "embed"
	"fmt"
	"html/template"
	"strings"

	"gatehouse/account"
	"gatehouse/api/endpoint"
)

//go:embed link.html
var linkPage string

// link is a page that a mail links to: a press of its button sends the link's token to an operation. Nothing happens before,
// so that a scanner of mails that opens the link changes nothing.
type link struct {
	at string

	says
	// Cases are what the page says in place of that, by the parameter "for" of the link. The mail chooses it, and it chooses words
	// alone: what the token is good for is the token's. A link with another one, or without, says what is in says.
	Cases map[string]says
	// Otherwise is what to do without the page.
	Otherwise string
	// Method and Path are those of the operation.
	Method, Path string
}

// says are the words of a page, of which all are shown.
type says struct{ Title, Lead, Button string }

var links = []link{
	{
		at: "/confirm-email",
		says: says{
			Title: "Confirm your email address", Button: "Confirm my address",
			Lead: "Press the button to confirm that this address is yours. Did you not ask for the mail that brought you here? " +
				"Then close this page; nothing happens.",
		},
		// The account is somebody's whom the mailbox may not know: they must not get it from one who is just signing up.
		Cases: map[string]says{string(account.PurposeEmailChange): {
			Title: "Make this the address of an existing account?", Button: "Give the account my address",
			Lead: "Somebody who is signed in to an account that exists already wants your address for it. Press the button only if that " +
				"is you, and the account is yours: whoever uses it gets your address with it. This is no sign-up. Are you signing up, " +
				"or did you not ask to change the address of an account? Then close this page; nothing happens.",
		}},
		Otherwise: "You can also enter the code from the mail where you asked for it.",
		Method:    "PUT", Path: "/v1/users/confirm-email",
	},
	{
		at: "/undo-closure",
		says: says{
			Title: "Open your account again", Button: "Open my account again",
			Lead: "Press the button to open your closed account again. Then sign in as before. " +
				"If the account is to stay closed, close this page; nothing happens.",
		},
		Method: "POST", Path: "/api/v1/auth/account/undo-closure",
	},
}

func linkPages() ([]endpoint.Page, error) {
	page, err := template.New("link").Parse(linkPage)
	if err != nil {
		return nil, fmt.Errorf("pages of links: %w", err)
	}
	pages := make([]endpoint.Page, len(links))
	for i, l := range links {
		var text strings.Builder
		if err := page.Execute(&text, l); err != nil {
			return nil, fmt.Errorf("page %s: %w", l.at, err)
		}
		pages[i] = scripted(l.at, text.String())
	}
	return pages, nil
}
