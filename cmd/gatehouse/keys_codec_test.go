package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/durable"
)

func TestReportOfCodecKeys(t *testing.T) {
	t.Parallel()
	report := func(uses map[string]codecKeyUse) (string, error) {
		var out bytes.Buffer
		err := reportCodecKeys(&out, []durable.Key{{ID: "1"}, {ID: "2", Primary: true}, {ID: "3"}}, uses)
		return out.String(), err
	}
	out, err := report(map[string]codecKeyUse{"2": {KeyUse: durable.KeyUse{Running: 5, Closed: 6, Schedules: 1}, Answers: 7}})
	require.NoError(t, err, "only the key that encrypts is in use")
	require.Equal(t, `KEY  STATE           RUNNING  CLOSED  SCHEDULES  ANSWERS
1    may be removed  0        0       0          0
2    encrypts        5        6       1          7
3    may be removed  0        0       0          0
`, out)
	for _, use := range []codecKeyUse{
		{KeyUse: durable.KeyUse{Running: 1}}, {KeyUse: durable.KeyUse{Closed: 1}}, {KeyUse: durable.KeyUse{Schedules: 1}}, {Answers: 1},
	} {
		out, err = report(map[string]codecKeyUse{"1": use})
		require.EqualError(t, err, "needed beside the key that encrypts: 1", use.String())
		require.Contains(t, out, "1    needed")
		_, err = report(map[string]codecKeyUse{"9": use, "3": use})
		require.EqualError(t, err, "needed beside the key that encrypts: 3, 9 (missing)")
	}
}

func TestCodecKeysAreShown(t *testing.T) {
	t.Parallel()
	first, err := durable.GenerateKeyset()
	require.NoError(t, err)
	both, added, err := durable.AddKey(first)
	require.NoError(t, err)
	ring, err := durable.NewKeyring(both)
	require.NoError(t, err)
	registry := prometheus.NewRegistry()
	showCodecKeys(registry, ring)
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(
		"# HELP gatehouse_codec_key 1 for each key of the codec that this process knows: one encrypts, all decrypt.\n# TYPE gatehouse_codec_key gauge\n"+
			`gatehouse_codec_key{key="`+added+`",use="decrypts"} 1`+"\n"+`gatehouse_codec_key{key="`+ring.KeyID()+`",use="encrypts"} 1`+"\n")))
}
