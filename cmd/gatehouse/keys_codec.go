package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"gatehouse/internal/config"
	"gatehouse/internal/durable"
)

func codecKeysCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "codec", Short: "Rotate GATEHOUSE_CODEC_KEYS, which encrypts what Temporal keeps"}
	rotate := &cobra.Command{Use: "rotate", Short: "Print the keyset of the next step of a rotation: add, promote, remove"}
	rotate.AddCommand(addCodecKeyCommand(), promoteCodecKeyCommand(), removeCodecKeyCommand())
	cmd.AddCommand(listCodecKeysCommand(), rotate, checkCodecKeysCommand())
	return cmd
}

func listCodecKeysCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "Print the ids of the keys, and which one encrypts", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ring, _, err := codecKeys()
			if err != nil {
				return err
			}
			for _, k := range ring.Keys() {
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\t%s\n", k.ID, useOf(k)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// useOf says what a key does in this ring.
func useOf(k durable.Key) string {
	if k.Primary {
		return "encrypts"
	}
	return "decrypts"
}

// showCodecKeys tells the keys of this process, so that a rotation sees whether every process has taken a step.
func showCodecKeys(registry prometheus.Registerer, ring *durable.Keyring) {
	keys := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatehouse_codec_key", Help: "1 for each key of the codec that this process knows: one encrypts, all decrypt.",
	}, []string{"key", "use"})
	registry.MustRegister(keys)
	for _, k := range ring.Keys() {
		keys.WithLabelValues(k.ID, useOf(k)).Set(1)
	}
}

func addCodecKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "add", Short: "1. Add a key that decrypts only", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, encoded, err := codecKeys()
			if err != nil {
				return err
			}
			next, id, err := durable.AddKey(encoded)
			if err != nil {
				return err
			}
			return printCodecKeys(cmd, next, "Key "+id+" decrypts only. Give this keyset to every API and worker and restart them all; "+
				"then `gatehouse keys codec rotate promote`.")
		},
	}
}

func promoteCodecKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "promote [ID]", Short: "2. Let another key encrypt: the newest, unless named", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ring, encoded, err := codecKeys()
			if err != nil {
				return err
			}
			keys := ring.Keys()
			id := keys[len(keys)-1].ID
			if len(args) > 0 {
				id = args[0]
			}
			if id == ring.KeyID() {
				return fmt.Errorf("key %s encrypts already; `gatehouse keys codec rotate add` makes another", id)
			}
			next, err := durable.PromoteKey(encoded, id)
			if err != nil {
				return err
			}
			return printCodecKeys(cmd, next, "Key "+id+" encrypts. Every API and worker must know it already, or it cannot read what this one writes. "+
				"Give this keyset to all and restart them. Keep the old key until `gatehouse keys codec prune-check` finds nothing of it.")
		},
	}
}

func removeCodecKeyCommand() *cobra.Command {
	var scan codecScan
	var forget bool
	cmd := &cobra.Command{
		Use: "remove ID", Short: "3. Remove a key, if nothing is left that it encrypted", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, encoded, err := codecKeys()
			if err != nil {
				return err
			}
			next, err := durable.RemoveKey(encoded, args[0]) // before the long look: a primary or unknown key is no question of use
			if err != nil {
				return err
			}
			uses, err := scan.run(cmd)
			if err != nil {
				return err
			}
			use := uses[args[0]]
			if forget {
				use.Closed = 0
			}
			if use != (codecKeyUse{}) {
				return fmt.Errorf("key %s is needed: %s", args[0], use)
			}
			return printCodecKeys(cmd, next, "Key "+args[0]+" is gone from this keyset. Give it to every API and worker.")
		},
	}
	scan.flags(cmd)
	cmd.Flags().BoolVar(&forget, "forget-closed", false, "remove it although closed flows can then not be read any more")
	return cmd
}

func checkCodecKeysCommand() *cobra.Command {
	var scan codecScan
	cmd := &cobra.Command{
		Use: "prune-check", Short: "Count what each key encrypted, and fail while a key is needed that does not encrypt any more", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ring, _, err := codecKeys()
			if err != nil {
				return err
			}
			uses, err := scan.run(cmd)
			if err != nil {
				return err
			}
			return reportCodecKeys(cmd.OutOrStdout(), ring.Keys(), uses)
		},
	}
	scan.flags(cmd)
	return cmd
}

// reportCodecKeys prints a line for each key, those that the ring lacks included, and names in its error what keeps old ones.
func reportCodecKeys(w io.Writer, keys []durable.Key, uses map[string]codecKeyUse) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "KEY\tSTATE\tRUNNING\tCLOSED\tSCHEDULES\tANSWERS")
	var needed []string
	line := func(id, state string) {
		use := uses[id]
		_, _ = fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\n", id, state, use.Running, use.Closed, use.Schedules, use.Answers)
	}
	known := map[string]bool{}
	for _, k := range keys {
		known[k.ID] = true
		switch {
		case k.Primary:
			line(k.ID, "encrypts")
		case uses[k.ID] == codecKeyUse{}:
			line(k.ID, "may be removed")
		default:
			line(k.ID, "needed")
			needed = append(needed, k.ID)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(uses)) {
		if !known[id] {
			line(id, "missing")
			needed = append(needed, id+" (missing)")
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(needed) > 0 {
		return fmt.Errorf("needed beside the key that encrypts: %s", strings.Join(needed, ", "))
	}
	return nil
}

// codecKeyUse is what was encrypted by one key, in Temporal and in Postgres.
type codecKeyUse struct {
	durable.KeyUse

	Answers int
}

// String counts what is there.
func (u codecKeyUse) String() string {
	return fmt.Sprintf("%d running and %d closed flows, %d schedules, %d kept answers", u.Running, u.Closed, u.Schedules, u.Answers)
}

// codecScan looks for what each key encrypted.
type codecScan struct{ before string }

func (s *codecScan) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.before, "started-before", "",
		"look only at flows started before this moment (RFC 3339): when the last process had the new key as the one that encrypts")
}

const codecScanProgress = 10_000

func (s *codecScan) run(cmd *cobra.Command) (map[string]codecKeyUse, error) {
	var before time.Time
	if s.before != "" {
		var err error
		if before, err = time.Parse(time.RFC3339, s.before); err != nil {
			return nil, errors.New("--started-before must be a moment such as 2026-11-22T03:00:00Z")
		}
	}
	p, err := newProcess("keys")
	if err != nil {
		return nil, err
	}
	defer p.close(cmd.Context())
	next := codecScanProgress
	inTemporal, err := p.flows.KeyUses(cmd.Context(), before, func(runs int) {
		if runs >= next {
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%d flows read\n", runs)
			next += codecScanProgress
		}
	})
	if err != nil {
		return nil, fmt.Errorf("look at Temporal: %w", err)
	}
	return p.withAnswers(cmd.Context(), inTemporal)
}

// withAnswers adds what Postgres keeps: the answers of idempotency keys, for 48 hours.
func (p *process) withAnswers(ctx context.Context, inTemporal map[string]durable.KeyUse) (map[string]codecKeyUse, error) {
	uses := map[string]codecKeyUse{}
	for id, use := range inTemporal {
		uses[id] = codecKeyUse{KeyUse: use}
	}
	answers, err := p.store.SealedAnswers(ctx, durable.SealPrefix)
	if err != nil {
		return nil, fmt.Errorf("look at Postgres: %w", err)
	}
	for _, a := range answers {
		id, err := durable.KeyOf(a.Prefix)
		if err != nil {
			return nil, fmt.Errorf("a kept answer: %w", err)
		}
		use := uses[id]
		use.Answers = a.Count
		uses[id] = use
	}
	return uses, nil
}

func codecKeys() (ring *durable.Keyring, encoded string, err error) {
	if encoded, err = config.CodecKeys(); err != nil {
		return nil, "", err
	}
	if ring, err = durable.NewKeyring(encoded); err != nil {
		return nil, "", fmt.Errorf("GATEHOUSE_CODEC_KEYS: %w", err)
	}
	return ring, encoded, nil
}

// printCodecKeys prints the keyset alone on standard output, so that it can go where secrets are kept, and what to do on the other.
func printCodecKeys(cmd *cobra.Command, encoded, todo string) error {
	_, _ = fmt.Fprintln(cmd.ErrOrStderr(), todo)
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "GATEHOUSE_CODEC_KEYS=%s\n", encoded)
	return err
}
