package worker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

func TestBuild_WithoutAnIDIsUnversioned(t *testing.T) {
	t.Parallel()
	require.Zero(t, Build{Deployment: "gatehouse"}.options())
	got := Build{Deployment: "gatehouse", ID: "v2"}.options()
	require.True(t, got.UseVersioning)
	require.Equal(t, worker.WorkerDeploymentVersion{DeploymentName: "gatehouse", BuildID: "v2"}, got.Version)
}

// An activity that says nothing for five seconds is begun anew elsewhere: two of its heartbeats may be lost.
func TestOptions_HeartbeatsAreNotHeldBack(t *testing.T) {
	t.Parallel()
	require.LessOrEqual(t, 3*Deps{}.options(nil).MaxHeartbeatThrottleInterval, 5*time.Second)
	require.NotZero(t, Deps{}.options(nil).MaxHeartbeatThrottleInterval, "zero is the SDK's minute")
}

func TestHeld_OnlyTheNamedChangesAreHeld(t *testing.T) {
	t.Parallel()
	require.Nil(t, held(nil))
	provide := held([]string{"one", "two"})
	for change, is := range map[string]bool{"one": true, "two": true, "three": false} {
		got := provide(worker.PreferredVersionProviderInput{ChangeID: change, MinSupported: workflow.DefaultVersion, MaxSupported: 1})
		require.Equal(t, is, got != nil, change)
		if is {
			require.Equal(t, workflow.DefaultVersion, got.Version)
			require.True(t, got.ClampToSupportedRange, "the oldest way that is left, once the first one is gone")
		}
	}
}
