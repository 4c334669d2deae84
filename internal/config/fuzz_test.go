package config_test

import (
	"maps"
	"strings"
	"testing"

	"gatehouse/internal/config"
)

// Whatever stands in a setting, it is taken or named as the one at fault; what is secret is never quoted.
func FuzzLoad(f *testing.F) {
	all := config.Settings()
	for i := range all {
		for _, value := range []string{"", "x", "-1", "999999999999999999h", "\xff", "1e999"} {
			f.Add(uint(i), value)
		}
	}
	f.Fuzz(func(t *testing.T, number uint, value string) {
		if strings.ContainsRune(value, 0) {
			return // no environment can hold it
		}
		setting := all[number%uint(len(all))]
		given := maps.Clone(production)
		given[setting.Name] = value
		_, err := load(t, given)
		if err == nil {
			return
		}
		if !strings.Contains(err.Error(), "GATEHOUSE_") && !strings.Contains(err.Error(), "DATABASE_URL") {
			t.Fatalf("%s=%q: %v names no setting", setting.Name, value, err)
		}
		secret := strings.Contains(setting.Name, "KEY") || strings.Contains(setting.Name, "PASSWORD") || strings.Contains(setting.Name, "SECRET") ||
			strings.Contains(setting.Name, "TOKEN") || setting.Name == "DATABASE_URL"
		const telling = 12 // a shorter text may be one of the fault's own words
		if secret && len(value) >= telling && strings.Contains(err.Error(), value) || strings.Contains(err.Error(), canary) {
			t.Fatalf("%s is quoted: %v", setting.Name, err)
		}
	})
}
