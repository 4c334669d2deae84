package geo_test

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/geo"
)

func place(city, country string) mmdbtype.Map {
	m := mmdbtype.Map{"country": mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String(country), "de": mmdbtype.String("?")}}}
	if city != "" {
		m["city"] = mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String(city)}}
	}
	return m
}

func TestLocate(t *testing.T) {
	t.Parallel()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "GeoLite2-City", IncludeReservedNetworks: true})
	require.NoError(t, err)
	for network, value := range map[string]mmdbtype.Map{
		"81.2.69.0/24": place("London", "United Kingdom"), "2a02:cf40::/29": place("", "Norway"),
	} {
		_, prefix, err := net.ParseCIDR(network)
		require.NoError(t, err)
		require.NoError(t, tree.Insert(prefix, value))
	}
	path := filepath.Join(t.TempDir(), "city.mmdb")
	file, err := os.Create(path)
	require.NoError(t, err)
	_, err = tree.WriteTo(file)
	require.NoError(t, err)
	require.NoError(t, file.Close())

	db, err := geo.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	require.Equal(t, "London, United Kingdom", db.Locate(netip.MustParseAddr("81.2.69.142")))
	require.Equal(t, "Norway", db.Locate(netip.MustParseAddr("2a02:cf40::1")))
	require.Empty(t, db.Locate(netip.MustParseAddr("192.0.2.1")))
	require.Empty(t, db.Locate(netip.Addr{}))
}

func TestOpenRefusesOtherFiles(t *testing.T) {
	t.Parallel()
	_, err := geo.Open(filepath.Join(t.TempDir(), "none.mmdb"))
	require.ErrorContains(t, err, "open the location database")
	path := filepath.Join(t.TempDir(), "text.mmdb")
	require.NoError(t, os.WriteFile(path, []byte("no database"), 0o600))
	_, err = geo.Open(path)
	require.Error(t, err)
}
