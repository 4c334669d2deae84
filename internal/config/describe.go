package config

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"text/tabwriter"

	"github.com/caarlos0/env/v11"
)

// Setting is one environment variable.
type Setting struct {
	Name    string
	Default string

	field string
}

// Settings lists every environment variable that Load reads, in the order of Config.
func Settings() []Setting { return settingsOf(reflect.TypeFor[Config](), "") }

func settingsOf(t reflect.Type, prefix string) []Setting {
	var all []Setting
	for f := range t.Fields() {
		if name, ok := f.Tag.Lookup("env"); ok {
			all = append(all, Setting{Name: prefix + name, Default: f.Tag.Get("envDefault"), field: f.Name})
			continue
		}
		if p, ok := f.Tag.Lookup("envPrefix"); ok {
			all = append(all, settingsOf(f.Type, prefix+p)...)
		}
	}
	return all
}

// mayBeZero are the settings for which 0 is a valid value, such as no delay, no bonus or midnight. In all others 0 is a mistake.
var mayBeZero = map[string]bool{
	"GATEHOUSE_HASH_SLOTS": true, "GATEHOUSE_WELCOME_BONUS": true, "GATEHOUSE_WELCOME_BONUS_REDUCED": true,
	"GATEHOUSE_RECONCILE_AT": true, "GATEHOUSE_SUBSCRIPTION_MIN_CHARGE": true, "GATEHOUSE_DRAIN_DELAY": true,
	"GATEHOUSE_WORKER_POLLERS": true, "GATEHOUSE_PAYMENT_METHODS_PER_DAY": true, clockOffset: true,
}

// clockOffset is the one number that may be less than 0.
const clockOffset = "GATEHOUSE_CLOCK_OFFSET"

// notPositive names the settings whose number or duration is negative or 0 though it must not be: a limit or a lifetime of 0 would
// refuse everything.
func notPositive(c Config) []string {
	var names []string
	for _, s := range Settings() {
		v := valueOf(reflect.ValueOf(c), s.field)
		if (v.CanInt() && (v.Int() < 0 && s.Name != clockOffset || v.Int() == 0 && !mayBeZero[s.Name])) || (v.CanFloat() && v.Float() <= 0) {
			names = append(names, s.Name)
		}
	}
	return names
}

// valueOf finds a field by its name in a struct or in the structs directly inside it.
func valueOf(in reflect.Value, field string) reflect.Value {
	if v := in.FieldByName(field); v.IsValid() {
		return v
	}
	for _, inner := range in.Fields() {
		if inner.Kind() == reflect.Struct {
			if v := inner.FieldByName(field); v.IsValid() {
				return v
			}
		}
	}
	return reflect.Value{}
}

// nameSettings says of values that cannot be read which setting holds them: the parser knows only our fields.
func nameSettings(err error) error {
	all, ok := errors.AsType[env.AggregateError](err)
	if !ok {
		return fmt.Errorf("settings: %w", err)
	}
	var named []error
	for _, one := range all.Errors {
		fault, ok := errors.AsType[env.ParseError](one)
		if !ok {
			named = append(named, one)
			continue
		}
		name := fault.Name
		for _, s := range Settings() {
			if s.field == fault.Name {
				name = s.Name
			}
		}
		named = append(named, fmt.Errorf("%s cannot be read as %s", name, fault.Type))
	}
	return errors.Join(named...)
}

// Describe prints every setting with its default. What each means stands beside its field in Config and account.Policy,
// and in .env.example.
func Describe(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "SETTING\tDEFAULT")
	for _, s := range Settings() {
		_, _ = fmt.Fprintf(t, "%s\t%s\n", s.Name, s.Default)
	}
	return t.Flush()
}
