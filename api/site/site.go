// Package site is what the API serves beside its documents: the API reference, the pages that mails link
// to, the public keys, and in development the inbox. Everything is embedded and works offline.
package site

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"mime"
	"path"
	"strings"

	swagger "github.com/swaggo/files/v2"

	"gatehouse/api/endpoint"
	"gatehouse/api/openapi"
)

// Dialect speaks for every path that no document claims.
var Dialect = &endpoint.Dialect{
	Name:      "site",
	Success:   endpoint.Raw,
	Failure:   endpoint.RawFailure,
	FieldName: endpoint.SnakeCase,
}

var (
	//go:embed docs.html
	docsPage string
	//go:embed docs.js
	docsScript string
	//go:embed reset_password.html
	resetPasswordPage string
	//go:embed inbox.html
	inboxPage string
)

const (
	htmlType = "text/html; charset=utf-8"
	briefly  = "public, max-age=300"
	// nothingElse ends every policy of a page.
	nothingElse = "; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	// docsPolicy lets Swagger UI set styles, which it does inline.
	docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:" +
		nothingElse
	scriptedPolicy = "default-src 'none'; script-src %s; style-src %s" + nothingElse
)

// Pages returns the fixed pages. keys is the JWKS document.
func Pages(keys []byte) ([]endpoint.Page, error) {
	pages := []endpoint.Page{
		{Path: "/.well-known/jwks.json", MediaType: "application/json", CacheControl: briefly, Body: keys},
		scripted("/reset-password", resetPasswordPage),
		{Path: "/docs", MediaType: htmlType, ContentSecurityPolicy: docsPolicy, Body: []byte(docsPage)},
		{Path: "/docs/docs.js", MediaType: "text/javascript; charset=utf-8", Body: []byte(specList() + docsScript)},
	}
	linked, err := linkPages()
	if err != nil {
		return nil, err
	}
	pages = append(pages, linked...)
	for _, asset := range []string{
		"swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-standalone-preset.js", "favicon-32x32.png",
	} {
		body, err := fs.ReadFile(swagger.FS, asset)
		if err != nil {
			return nil, fmt.Errorf("API reference: %w", err)
		}
		pages = append(pages, endpoint.Page{
			Path: "/docs/" + asset, MediaType: mime.TypeByExtension(path.Ext(asset)), CacheControl: briefly, Body: body,
		})
	}
	for _, file := range openapi.Files() {
		pages = append(pages, endpoint.Page{
			Path: "/openapi/" + file.Name + ".yaml", MediaType: "application/yaml", Body: file.Body,
		})
	}
	return pages, nil
}

func specList() string {
	var entries []string
	for _, file := range openapi.Files() {
		entries = append(entries, fmt.Sprintf("{name: %q, url: %q}", file.Title, "/openapi/"+file.Name+".yaml"))
	}
	return "const files = [" + strings.Join(entries, ", ") + "];\n"
}

// InboxPage shows what the development inbox holds.
func InboxPage() endpoint.Page { return scripted("/dev/inbox", inboxPage) }

// scripted is a page with one inline script and one inline style, permitted by their hashes and nothing else.
func scripted(at, page string) endpoint.Page {
	return endpoint.Page{
		Path: at, MediaType: htmlType, Body: []byte(page),
		ContentSecurityPolicy: fmt.Sprintf(scriptedPolicy, hashOf(page, "script"), hashOf(page, "style")),
	}
}

func hashOf(page, element string) string {
	_, rest, _ := strings.Cut(page, "<"+element+">")
	content, _, _ := strings.Cut(rest, "</"+element+">")
	sum := sha256.Sum256([]byte(content))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
