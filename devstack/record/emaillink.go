//go:build unix

package main

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/workflows"
)

// linking is the link of an email.
func linking() story {
	s := moving()
	s.noun, s.workflow, s.summary = "email_link", workflows.EmailLinkWorkflow, "Link of the email "+masked
	return s
}

// unlinked is a notice to the address that an account had before.
func unlinked() story {
	s := notice()
	s.input = func(first, _ uuid.UUID) any {
		return workflows.SecurityNoticeInput{AccountID: owner, Template: "email_unlinked", EmailChange: first}
	}
	return s
}

func linkedByCode(w script) script {
	w.linking = true
	return w
}

func linkable() script     { return linkedByCode(world()) }
func linkMailDown() script { return linkedByCode(mailDown()) }
func linkExpiring() script { return linkedByCode(expiring()) }

// linkGone knows no such change any more, as after a closure.
func linkGone() script {
	w := linkable()
	w.issue = func(activities.IssueSignupCodeInput) (activities.IssuedCode, error) {
		return activities.IssuedCode{}, account.ErrInvalidCode.Because(errSecret)
	}
	return w
}

// linkTakenAddress has an address that belongs to somebody, in hidden enumeration mode.
func linkTakenAddress() script {
	w := linkExpiring()
	w.taken = true
	return w
}

var emailLinkScenarios = []scenario{
	{"email-link-completed", linking, linkMailDown, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.settled, f.tell, f.closed)
	}},
	{"email-link-expired", linking, linkExpiring, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.closed)
	}},
	{"email-link-taken", linking, linkTakenAddress, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.closed)
	}},
	{"email-link-gone", linking, linkGone, func(ctx context.Context, f *flow) error {
		if err := f.ask(ctx); !errors.Is(err, account.ErrInvalidCode) {
			return errors.Join(errors.New("a change that is gone was not refused"), err)
		}
		return f.closed(ctx)
	}},
	{"email-link-replaced", linking, linkable, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.settled, f.again, f.settled, f.tell, f.closed)
	}},
	{"email-link-update-lost", linking, linkable, func(ctx context.Context, f *flow) error {
		return do(ctx, f.start, f.settled, f.tell, f.closed)
	}},
	{"email-link-canceled", linking, linkable, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.settled, f.cancel, f.closed)
	}},
	{"security-notice-unlinked", unlinked, mailDown, func(ctx context.Context, f *flow) error {
		return do(ctx, f.start, f.closed)
	}},
}
