//go:build unix

package stack

import (
	"errors"
	"fmt"
	"net"
)

// ErrPortTaken means that something else listens on a port that we were told to use.
var ErrPortTaken = errors.New("port taken")

// wantedPort is an address to listen on and the setting that names it.
type wantedPort struct{ what, setting, address, example string }

// checkPorts reports every address that cannot be listened on, all at once, also two settings that name the same one.
func checkPorts(wanted []wantedPort) error {
	var faults []error
	for _, w := range wanted {
		l, err := net.Listen("tcp", w.address)
		if err != nil {
			faults = append(faults, fmt.Errorf("%w: %s cannot %w; choose another address with %s, for example %s",
				ErrPortTaken, w.what, err, w.setting, w.example))
			continue
		}
		defer func() { _ = l.Close() }() // held until all are checked
	}
	return errors.Join(faults...)
}
