package api_test

import (
	"context"
	"time"

	"gatehouse/account"
	"gatehouse/core"
)

func (f *fakeCore) BeginGoogle(ctx context.Context, by account.Caller, in core.BeginGoogleInput) (core.GoogleBegun, error) {
	err := f.record(ctx, "BeginGoogle", by, in, nil)
	return core.GoogleBegun{AuthURL: "https://accounts.google.com/o?state=gst_1", State: "gst_1", ExpiresAt: moment.Add(10 * time.Minute)}, err
}

func (f *fakeCore) SignInByGoogle(ctx context.Context, by account.Caller, in core.GoogleInput) (core.GoogleSignIn, error) {
	err := f.record(ctx, "SignInByGoogle", by, in, map[string]string{"code": in.Code})
	return core.GoogleSignIn{SignIn: f.signIn(), Created: in.Code == "new"}, err
}
