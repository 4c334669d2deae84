package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"gatehouse/account"
	"gatehouse/internal/config"
)

func plansCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "plans", Short: "Look at the catalogue of plans, or change it"}
	cmd.AddCommand(listPlansCommand(), applyPlansCommand())
	return cmd
}

func listPlansCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "Print the catalogue, retired plans included", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := newProcess("plans")
			if err != nil {
				return err
			}
			defer p.close(cmd.Context())
			plans, err := p.store.Plans(cmd.Context())
			for _, plan := range plans {
				state := "offered"
				if plan.Retired {
					state = "retired"
				}
				_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%s\t%s\t%s\t%s every %d %s\t%s\n", plan.ID, plan.Code, plan.Name,
					account.FormatMoney(plan.Price), plan.Interval.Count, plan.Interval.Unit, state)
			}
			return err
		},
	}
}

func applyPlansCommand() *cobra.Command {
	return &cobra.Command{
		Use: "apply FILE", Short: "Make the catalogue what a YAML file (- for standard input) says; plans that it leaves out retire", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := opened(cmd, args[0])
			if err != nil {
				return err
			}
			defer func() { _ = file.Close() }()
			p, err := newProcess("plans")
			if err != nil {
				return err
			}
			defer p.close(cmd.Context())
			plans, err := readPlans(file, p.config.Environment == config.Development)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if err := p.store.ApplyPlans(cmd.Context(), plans); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d plans applied\n", len(plans))
			return err
		},
	}
}

// opened is a file, or standard input for "-": an image may have no place for files.
func opened(cmd *cobra.Command, name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(cmd.InOrStdin()), nil
	}
	return os.Open(name) //nolint:gosec // the operator names it
}

// catalogueFile is the file of `gatehouse plans apply`; deploy/plans.yaml is one.
type catalogueFile struct {
	Plans []struct {
		ID              string   `yaml:"id"`
		Code            string   `yaml:"code"`
		Name            string   `yaml:"name"`
		Family          string   `yaml:"family"`
		Amount          whole    `yaml:"amount"`
		Currency        string   `yaml:"currency"`
		Interval        string   `yaml:"interval"`
		IntervalCount   int      `yaml:"interval_count"`
		TrialDays       int      `yaml:"trial_days"`
		CreditsPerMonth whole    `yaml:"credits_per_month"`
		Features        []string `yaml:"features"`
		Retired         bool     `yaml:"retired"`
	} `yaml:"plans"`
}

// whole is a number without a fraction: the decoder would cut 9.99 to 9.
type whole int64

// UnmarshalYAML refuses whatever is not written as a whole number.
func (w *whole) UnmarshalYAML(n *yaml.Node) error {
	if n.Tag != "!!int" {
		return fmt.Errorf("line %d: %s is no whole number", n.Line, n.Value)
	}
	return n.Decode((*int64)(w))
}

// readPlans reads a catalogue and names every plan that is at fault. Intervals of seconds are for tests: only development
// takes them.
func readPlans(r io.Reader, development bool) ([]account.Plan, error) {
	decoder := yaml.NewDecoder(r)
	decoder.KnownFields(true)
	var file catalogueFile
	if err := decoder.Decode(&file); err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	if len(file.Plans) == 0 {
		return nil, errors.New("holds no plans")
	}
	var plans []account.Plan
	var faults []error
	for i, f := range file.Plans {
		p := account.Plan{
			ID: f.ID, Code: f.Code, Name: f.Name, Family: f.Family, Price: account.Money{Amount: int64(f.Amount), Currency: strings.ToLower(f.Currency)},
			Interval:  account.Interval{Unit: account.IntervalUnit(f.Interval), Count: f.IntervalCount},
			TrialDays: f.TrialDays, CreditsPerMonth: int64(f.CreditsPerMonth), Features: f.Features, Retired: f.Retired, Free: f.Amount == 0,
		}.WithDefaults()
		if fault := p.Fault(); fault != "" {
			faults = append(faults, fmt.Errorf("plan %d (%q) %s", i+1, f.ID, fault))
		}
		if p.Interval.Unit == account.IntervalSecond && !development {
			faults = append(faults, fmt.Errorf("plan %d (%q) renews every few seconds, which is for development", i+1, f.ID))
		}
		if slices.ContainsFunc(plans, func(o account.Plan) bool { return o.ID == p.ID }) {
			faults = append(faults, fmt.Errorf("plan %d (%q) is there twice", i+1, f.ID))
		}
		plans = append(plans, p)
	}
	return plans, errors.Join(faults...)
}
