//go:build unix

// Package demo plays the journey of a new user against a running system, printing every request as a curl command.
package demo

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"gatehouse/devstack/stack"
)

const (
	inboxPatience = 20 * time.Second
	lookAgain     = 100 * time.Millisecond
	callTimeout   = 15 * time.Second
	password      = "correct-horse-7-battery"
)

// Play signs a new user up, logs in, reads the account and logs out, and links the sign-up's workflow in the Temporal UI. The
// system is the one whose environment file lies in GATEHOUSE_DATA_DIR; environ as of os.Environ.
func Play(ctx context.Context, out io.Writer, environ []string) error {
	settings, err := stack.LoadSettings(environ)
	if err != nil {
		return err
	}
	running, err := stack.ReadEnvFile(settings.EnvFile())
	if err != nil {
		return err
	}
	if running.Values["GATEHOUSE_BASE_URL"] == "" {
		return fmt.Errorf("no system has run in %s yet; start one in another terminal with: make run", settings.DataDir)
	}
	p := &player{
		out: out, base: strings.TrimSuffix(running.Values["GATEHOUSE_BASE_URL"], "/"), env: running.Values,
		client: &http.Client{Timeout: callTimeout},
		email:  "demo-" + strings.ToLower(rand.Text()[:10]) + "@example.com",
	}
	return p.play(ctx)
}

type player struct {
	out    io.Writer
	base   string
	env    map[string]string
	client *http.Client
	email  string
}

func (p *player) play(ctx context.Context) error {
	p.title("1. Sign up: the code is on its way before the answer, the account does not exist yet")
	if _, err := p.call(ctx, "POST", "/api/v1/auth/initiate-signup", "", body{
		"email": p.email, "password": password, "name": "Demo User",
	}); err != nil {
		return err
	}
	p.title("2. Take the code from the development inbox")
	code, err := p.code(ctx)
	if err != nil {
		return err
	}
	p.title("3. Complete: account, profile, settings, bonus and session in one transaction")
	if _, err := p.call(ctx, "POST", "/api/v1/auth/complete-signup", "", body{"email": p.email, "code": code}); err != nil {
		return err
	}
	p.title("4. Log in")
	answer, err := p.call(ctx, "POST", "/api/v1/auth/login", "", body{"email": p.email, "password": password})
	if err != nil {
		return err
	}
	token, _ := answer["session_token"].(string)
	if token == "" {
		return errors.New("the login answered no session_token")
	}
	p.title("5. Read the account, in two of the dialects")
	for _, path := range []string{"/api/v1/auth/me", "/v1/users/details"} {
		if _, err := p.call(ctx, "GET", path, token, nil); err != nil {
			return err
		}
	}
	p.title("6. Log out")
	if _, err := p.call(ctx, "POST", "/v1/users/logout", token, nil); err != nil {
		return err
	}
	p.title("7. The sign-up as a workflow")
	link, err := newestSignup(ctx, p.env)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.out, link)
	return err
}

func (p *player) title(s string) { _, _ = fmt.Fprintf(p.out, "\n## %s\n\n", s) }

type body map[string]string

// call sends a request, printing it as a curl command with its answer, and fails unless the answer is a success.
func (p *player) call(ctx context.Context, method, path, token string, in body) (map[string]any, error) {
	request, command, err := p.request(ctx, method, path, token, in)
	if err != nil {
		return nil, err
	}
	_, _ = fmt.Fprintln(p.out, "$ "+command)
	status, raw, err := p.send(request)
	if err != nil {
		return nil, err
	}
	p.print(status, raw)
	answer := map[string]any{}
	_ = json.Unmarshal(raw, &answer) // an empty or other answer has nothing to read
	if status < 200 || status > 299 {
		return answer, fmt.Errorf("%s %s answered %d", method, path, status)
	}
	return answer, nil
}

// request is a request and the curl command that would send it.
func (p *player) request(ctx context.Context, method, path, token string, in body) (*http.Request, string, error) {
	command := "curl"
	if method != http.MethodGet {
		command += " -X " + method
	}
	command += " '" + p.base + path + "'"
	var content io.Reader
	if in != nil {
		sent, err := json.Marshal(in)
		if err != nil {
			return nil, "", fmt.Errorf("write the request: %w", err)
		}
		content = strings.NewReader(string(sent))
		command += " \\\n  -H 'Content-Type: application/json' -d '" + string(sent) + "'"
	}
	request, err := http.NewRequestWithContext(ctx, method, p.base+path, content)
	if err != nil {
		return nil, "", fmt.Errorf("make the request: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
		command += " \\\n  -H 'Authorization: Bearer " + token + "'"
	}
	return request, command, nil
}

func (p *player) send(request *http.Request) (status int, raw []byte, err error) {
	answer, err := p.client.Do(request)
	if err != nil {
		return 0, nil, fmt.Errorf("is the system running (make run)? %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	if raw, err = io.ReadAll(answer.Body); err != nil {
		return 0, nil, fmt.Errorf("read the answer: %w", err)
	}
	return answer.StatusCode, raw, nil
}

func (p *player) print(status int, raw []byte) {
	_, _ = fmt.Fprintf(p.out, "%d %s\n%s\n", status, http.StatusText(status), pretty(raw))
}

// code waits for the mail: it is sent by an activity, which may come after the answer.
func (p *player) code(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, inboxPatience)
	defer cancel()
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	for asked := false; ; asked = true {
		request, command, err := p.request(ctx, "GET", "/dev/inbox.json?channel=email&to="+url.QueryEscape(p.email), "", nil)
		if err != nil {
			return "", err
		}
		if !asked {
			_, _ = fmt.Fprintln(p.out, "$ "+command)
		}
		status, raw, err := p.send(request)
		if err != nil {
			return "", err
		}
		if status == http.StatusNotFound {
			return "", errors.New("there is no development inbox: the system sends real mail or runs in production")
		}
		var messages []struct {
			Code string `json:"code"`
		}
		if err := json.Unmarshal(raw, &messages); err == nil && len(messages) > 0 && messages[0].Code != "" {
			p.print(status, raw)
			return messages[0].Code, nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("no code came to %s within %s; does a worker run?", p.email, inboxPatience)
		case <-again.C:
		}
	}
}

func pretty(raw []byte) string {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return string(raw)
	}
	indented, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return string(raw)
	}
	return string(indented)
}
