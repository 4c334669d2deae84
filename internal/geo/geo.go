// Package geo tells roughly where an address is, from a MaxMind database file of the operator's choice. Gatehouse brings
// none along.
package geo

import (
	"fmt"
	"net/netip"

	"github.com/oschwald/maxminddb-golang/v2"
)

// Locations is an open database. It is safe for concurrent use.
type Locations struct {
	db *maxminddb.Reader
}

// Open reads a database with the layout of GeoLite2 City or Country.
func Open(path string) (*Locations, error) {
	db, err := maxminddb.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the location database: %w", err)
	}
	return &Locations{db: db}, nil
}

// Close gives the file back. No lookup may be running.
func (l *Locations) Close() error { return l.db.Close() }

// Locate returns "city, country" or the country alone in English, and nothing for an address that the database does not
// know.
func (l *Locations) Locate(address netip.Addr) string {
	var found struct {
		City struct {
			Names map[string]string `maxminddb:"names"`
		} `maxminddb:"city"`
		Country struct {
			Names map[string]string `maxminddb:"names"`
		} `maxminddb:"country"`
	}
	if !address.IsValid() || l.db.Lookup(address).Decode(&found) != nil {
		return ""
	}
	city, country := found.City.Names["en"], found.Country.Names["en"]
	if city == "" || country == "" {
		return city + country
	}
	return city + ", " + country
}
