package config

import (
	"fmt"
	"io"
	"reflect"
	"text/tabwriter"
)

// Setting is one environment variable.
type Setting struct {
	Name    string
	Default string
}

// Settings lists every environment variable that Load reads, in the order of Config.
func Settings() []Setting { return settingsOf(reflect.TypeFor[Config](), "") }

func settingsOf(t reflect.Type, prefix string) []Setting {
	var all []Setting
	for f := range t.Fields() {
		if name, ok := f.Tag.Lookup("env"); ok {
			all = append(all, Setting{Name: prefix + name, Default: f.Tag.Get("envDefault")})
			continue
		}
		if p, ok := f.Tag.Lookup("envPrefix"); ok {
			all = append(all, settingsOf(f.Type, prefix+p)...)
		}
	}
	return all
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
