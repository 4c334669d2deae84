package site

import (
	_ "embed"
	"fmt"
	"html/template"
	"strings"

	"gatehouse/api/endpoint"
)

//go:embed link.html
var linkPage string

// link is a page that a mail links to: a press of its button sends the link's token to an operation. Nothing happens before,
// so that a scanner of mails that opens the link changes nothing.
type link struct {
	at string

	Title, Lead, Button string
	// Otherwise is what to do without the page.
	Otherwise string
	// Method and Path are those of the operation.
	Method, Path string
}

var links = []link{
	{
		at: "/confirm-email", Title: "Confirm your email address", Button: "Confirm my address",
		Lead:      "Press the button to confirm that this address is yours. Did you not sign up? Then close this page; nothing happens.",
		Otherwise: "You can also enter the code from the mail where you signed up.",
		Method:    "PUT", Path: "/v1/users/confirm-email",
	},
	{
		at: "/undo-closure", Title: "Open your account again", Button: "Open my account again",
		Lead: "Press the button to open your closed account again. Then sign in as before. " +
			"If the account is to stay closed, close this page; nothing happens.",
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
