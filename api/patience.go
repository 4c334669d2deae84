package api

import "time"

// patience is until when a connection waits, to read or to write. The server sets it twice for each request, to wait for it and to
// read it, though mostly all of it is there at once; at the socket each would move a timer, for which the runtime may wake a
// thread. So it gets there when something is about to wait, and only if what is there is not as good.
type patience struct{ wanted, placed time.Time }

// impatience is how much earlier than asked for a wait may end.
const impatience = time.Second

// place sets what is wanted by set, unless it stands there already.
func (p *patience) place(set func(time.Time) error) error {
	if p.wanted.Equal(p.placed) {
		return nil
	}
	ends := !p.wanted.IsZero() && !p.placed.IsZero()
	if early := p.wanted.Sub(p.placed); ends && early > 0 && early < impatience {
		return nil
	}
	if err := set(p.wanted); err != nil {
		return err
	}
	p.placed = p.wanted
	return nil
}
