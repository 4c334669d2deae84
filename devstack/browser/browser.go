// Package browser looks at web pages as people do, with Debian's Chromium driven by Playwright: for end-to-end tests of what
// operators see in the Temporal UI.
package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// ErrNone says that there is no browser here, or nothing to drive it with.
var ErrNone = errors.New("no browser: `make browser` installs what is missing")

const (
	width    = 1640
	height   = 860
	patience = 45 * time.Second
)

// Browser is a Chromium that is started for each look.
type Browser struct {
	// User and Password answer servers that ask for HTTP basic authentication; without a User nobody does.
	User, Password string

	node, script, executable string
}

// Page is what to open and what to wait for.
type Page struct {
	URL string
	// Wait are phrases that the page shows in the end.
	Wait []string
	// Show is a phrase to scroll to before a picture is taken, Screenshot the file of the picture; empty for none.
	Show, Screenshot string
}

// Seen is what could be read on a page, and which of the phrases that were waited for could not.
type Seen struct {
	Text    string   `json:"text"`
	Missing []string `json:"missing"`
}

// Find finds a browser; folder is that of this package. It returns ErrNone when a part is missing.
func Find(folder string) (*Browser, error) {
	b := &Browser{script: filepath.Join(folder, "look.mjs")}
	var err error
	if b.node, err = exec.LookPath("node"); err != nil {
		return nil, errors.Join(ErrNone, err)
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if b.executable, err = exec.LookPath(name); err == nil {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(ErrNone, err)
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "playwright-core")); err != nil {
		return nil, errors.Join(ErrNone, err)
	}
	return b, nil
}

// Look opens the pages one after the other and returns what was seen on each, after 45 seconds at most where a phrase does not
// come.
func (b *Browser) Look(ctx context.Context, pages ...Page) ([]Seen, error) {
	type page struct {
		URL        string   `json:"url"`
		Wait       []string `json:"wait"`
		Patience   int64    `json:"patience"`
		Show       string   `json:"show"`
		Screenshot string   `json:"screenshot"`
	}
	job := struct {
		Executable string `json:"executable"`
		Root       bool   `json:"root"`
		Width      int    `json:"width"`
		Height     int    `json:"height"`
		User       string `json:"user"`
		Password   string `json:"password"`
		Pages      []page `json:"pages"`
	}{Executable: b.executable, Root: os.Geteuid() == 0, Width: width, Height: height, User: b.User, Password: b.Password}
	for _, p := range pages {
		job.Pages = append(job.Pages, page{p.URL, append([]string{}, p.Wait...), patience.Milliseconds(), p.Show, p.Screenshot})
	}
	input, err := json.Marshal(job) //nolint:gosec // for the script alone, which signs in with it
	if err != nil {
		return nil, fmt.Errorf("describe what to look at: %w", err)
	}
	cmd := exec.CommandContext(ctx, b.node, b.script) //nolint:gosec // our own script
	var out, faults bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &faults
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("look with a browser: %w\n%s", err, faults.String())
	}
	var seen []Seen
	if err := json.Unmarshal(out.Bytes(), &seen); err != nil {
		return nil, fmt.Errorf("read what the browser saw: %w", err)
	}
	return seen, nil
}
