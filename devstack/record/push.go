//go:build unix

package main

import (
	"context"

	"github.com/google/uuid"

	"gatehouse/activities"
)

var phoneOfOwner = uuid.MustParse("0b57a7e5-0000-4000-8000-000000000003")

// devicesToTell has an owner with two devices, of which one is gone.
func devicesToTell() script {
	w := mailDown()
	w.devices = func() ([]uuid.UUID, error) { return []uuid.UUID{phoneOfOwner, session}, nil }
	w.push = func(in activities.SendPushInput) (activities.Delivered, error) {
		if in.TokenID == phoneOfOwner {
			return activities.Delivered{State: activities.DeliveryDead}, nil
		}
		return activities.Delivered{State: activities.DeliverySent}, nil
	}
	return w
}

func (s *steps) PushTargets(context.Context, activities.PushTargetsInput) ([]uuid.UUID, error) {
	if devices := s.script().devices; devices != nil {
		return devices()
	}
	return nil, nil // most owners have none
}

func (s *steps) SendPush(_ context.Context, in activities.SendPushInput) (activities.Delivered, error) {
	return s.script().push(in)
}
