package endpoint

import (
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"
)

// hostPrefix makes browsers keep a cookie only when it is Secure, of this host alone and of the whole path.
const hostPrefix = "__Host-"

// Cookie is a credential that pages keep without seeing it.
type Cookie struct {
	// Name is without its prefix.
	Name string
	// Value is empty to take the cookie away.
	Value   string
	Expires time.Time
}

// Baker is a body with a cookie beside it.
type Baker interface {
	Cookie() Cookie
}

// trusted reports whether the request comes from a page that may use cookies of ours. A browser sends them along on its
// own; what it cannot be made to say is another Origin than the page's (security.md SES-11).
func trusted(c *fiber.Ctx) bool {
	origins := c.Request().Header.PeekAll(fiber.HeaderOrigin)
	return len(origins) == 1 && slices.Contains(StateOf(c).Frame.Origins, string(origins[0]))
}

// cookie returns a cookie of a trusted page. One of our own making wins over one without the prefix, which a neighbouring
// host could have planted; of two by one name neither is believed.
func cookie(c *fiber.Ctx, name string) (value string, present bool) {
	if !trusted(c) {
		return "", false
	}
	for _, name := range []string{hostPrefix + name, name} {
		var found []string
		c.Request().Header.VisitAllCookie(func(key, one []byte) {
			if string(key) == name {
				found = append(found, string(one))
			}
		})
		if len(found) > 0 {
			return found[0], len(found) == 1 && found[0] != ""
		}
	}
	return "", false
}

// bake sends a cookie to a trusted page.
func bake(c *fiber.Ctx, b Baker) {
	if !trusted(c) {
		return
	}
	made := b.Cookie()
	if made.Value == "" {
		made.Expires = time.Unix(1, 0)
	}
	c.Cookie(&fiber.Cookie{
		Name: hostPrefix + made.Name, Value: made.Value, Expires: made.Expires, Path: "/", Secure: true, HTTPOnly: true,
		SameSite: fiber.CookieSameSiteStrictMode,
	})
}
