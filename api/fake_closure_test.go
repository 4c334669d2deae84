package api_test

import (
	"context"

	"gatehouse/account"
	"gatehouse/core"
)

func (f *fakeCore) CloseAccount(ctx context.Context, by account.Caller, in core.CloseAccountInput) (core.None, error) {
	return core.None{}, f.record(ctx, "CloseAccount", by, in, nil)
}

func (f *fakeCore) UndoClosure(ctx context.Context, by account.Caller, in core.UndoClosureInput) (core.None, error) {
	return core.None{}, f.record(ctx, "UndoClosure", by, in, map[string]string{"token": in.Token})
}
