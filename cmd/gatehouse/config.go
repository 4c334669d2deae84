package main

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/internal/config"
)

func configCommand() *cobra.Command {
	return &cobra.Command{
		Use: "config", Short: "List every setting with its default, and check the environment", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := config.Describe(cmd.OutOrStdout()); err != nil {
				return err
			}
			_, err := config.Load()
			return err
		},
	}
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
