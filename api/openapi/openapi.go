// Package openapi holds the contract of each dialect as its clients read it: one hand-written file per dialect, served
// under /openapi and held to the code by tests.
package openapi

import _ "embed"

// File is one dialect's contract.
type File struct {
	// Name is the dialect's.
	Name  string
	Title string
	Body  []byte
}

var (
	//go:embed authv1.yaml
	authv1 []byte
	//go:embed usersv1.yaml
	usersv1 []byte
	//go:embed accountv1.yaml
	accountv1 []byte
)

// Files returns every dialect's contract.
func Files() []File {
	return []File{
		{Name: "authv1", Title: "auth v1 (documents A and C)", Body: authv1},
		{Name: "usersv1", Title: "users v1 (document B)", Body: usersv1},
		{Name: "accountv1", Title: "account v1 (document D)", Body: accountv1},
	}
}
