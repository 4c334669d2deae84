package api_test

import (
	"context"

	"gatehouse/account"
	"gatehouse/core"
)

func (f *fakeCore) PaymentNotice(ctx context.Context, by account.Caller, in core.PaymentNoticeInput) (core.None, error) {
	return core.None{}, f.record(ctx, "PaymentNotice", by, in, nil)
}
