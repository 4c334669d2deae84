package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/account"
	"gatehouse/internal/config"
	"gatehouse/internal/durable"
	"gatehouse/internal/secret"
	"gatehouse/workflows"
)

func configCommand() *cobra.Command {
	return &cobra.Command{
		Use: "config", Short: "List every setting with its default, and check the environment", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := config.Describe(cmd.OutOrStdout()); err != nil {
				return err
			}
			cfg, err := config.Load()
			if err != nil {
				return err
			}
			return usable(cfg)
		},
	}
}

// usable reads what only a process that starts would look into.
func usable(cfg config.Config) error {
	_, level := logLevel(cfg)
	_, key := secret.NewKeys(cfg.SecretKey)
	_, signing := secret.NewAccessTokens(cfg.SigningKey, cfg.BaseURL, account.SystemClock{})
	_, codec := newKeyring(cfg)
	return errors.Join(level, key, signing, codec, heldChanges(cfg))
}

// heldChanges refuses what is no change of this build: the one that was meant would not be held, which ends flows. A process that
// starts warns instead: in a deploy the setting may name what only the build to come knows.
func heldChanges(cfg config.Config) error {
	known := append(workflows.Changes(), durable.ChangeBarePayloads)
	for _, change := range cfg.HeldChanges {
		if !slices.Contains(known, change) {
			return fmt.Errorf("GATEHOUSE_HELD_CHANGES: there is no change %q; there are %s", change, strings.Join(known, ", "))
		}
	}
	return nil
}

const healthTimeout = 3 * time.Second

// healthcheckCommand is for containers without a shell or curl.
func healthcheckCommand() *cobra.Command {
	var worker bool
	cmd := &cobra.Command{
		Use: "healthcheck", Short: "Ask a running process on this machine whether it is ready", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			setting := "GATEHOUSE_OPS_ADDR"
			if worker {
				setting = "GATEHOUSE_WORKER_OPS_ADDR"
			}
			addr, err := config.OpsAddr(setting)
			if err != nil {
				return err
			}
			_, port, err := net.SplitHostPort(addr)
			if err != nil {
				return fmt.Errorf("%s: %w", setting, err)
			}
			req, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, "http://"+net.JoinHostPort("127.0.0.1", port)+"/readyz", nil)
			if err != nil {
				return err
			}
			res, err := (&http.Client{Timeout: healthTimeout}).Do(req)
			if err != nil {
				return err
			}
			defer func() { _ = res.Body.Close() }()
			if res.StatusCode != http.StatusOK {
				return fmt.Errorf("not ready: %s", res.Status)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&worker, "worker", false, "ask the worker instead of the API")
	return cmd
}
