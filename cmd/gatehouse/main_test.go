package main

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/config"
	"gatehouse/internal/durable"
	"gatehouse/internal/secret"
	"gatehouse/workflows"
)

// A group that takes a mistyped word for a success would have a job that gates the removal of a key on `prune-check` pass for ever.
func TestMistypedCommandsFail(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"audit", "chek"},
		{"keys", "codec", "prune_check"},
		{"keys", "codec", "rotate", "remov", "1"},
		{"webhooks", "disbale", "x"},
		{"billing", "findngs"},
		{"accounts", "x"},
		{"flows", "x"},
		{"memberships", "x"},
		{"messages", "x"},
		{"plans", "x"},
		{"keys", "x"},
		{"worker", "x"},
		{"x"},
	} {
		cmd := command()
		cmd.SetArgs(args)
		cmd.SetOut(io.Discard)
		require.ErrorContains(t, cmd.ExecuteContext(t.Context()), "unknown command", args)
	}
	cmd := command()
	cmd.SetArgs([]string{"audit"})
	cmd.SetOut(io.Discard)
	require.NoError(t, cmd.ExecuteContext(t.Context()), "a group alone shows what it has")
}

func TestGeneratedKeysGoIntoAnEnvFileAsTheyAre(t *testing.T) {
	t.Parallel()
	cmd := command()
	var out bytes.Buffer
	cmd.SetArgs([]string{"keys", "generate"})
	cmd.SetOut(&out)
	require.NoError(t, cmd.ExecuteContext(t.Context()))
	found := map[string]string{}
	for line := range bytes.Lines(out.Bytes()) {
		name, value, _ := bytes.Cut(bytes.TrimSpace(line), []byte("="))
		found[string(name)] = string(value)
	}
	require.Len(t, found, 3)
	_, err := secret.NewKeys(found["GATEHOUSE_SECRET_KEY"])
	require.NoError(t, err)
	_, err = secret.NewKeys(found["GATEHOUSE_SIGNING_KEY"])
	require.NoError(t, err)
	_, err = durable.NewKeyring(found["GATEHOUSE_CODEC_KEYS"])
	require.NoError(t, err)
}

func TestMigrateDownWantsToBeMeant(t *testing.T) {
	t.Setenv("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
	cmd := command()
	cmd.SetArgs([]string{"migrate", "--down"})
	require.ErrorContains(t, cmd.ExecuteContext(t.Context()), "say --yes")
}

func TestHeldChangesAreKnown(t *testing.T) {
	t.Parallel()
	require.NoError(t, heldChanges(config.Config{HeldChanges: []string{durable.ChangeBarePayloads, workflows.ChangeSharedRuns}}))
	require.ErrorContains(t, heldChanges(config.Config{HeldChanges: []string{"bare-payload"}}), `no change "bare-payload"`)
}
