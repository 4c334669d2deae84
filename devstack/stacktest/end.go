//go:build unix

package stacktest

import (
	"sync"
	"testing"
)

// atEnd looks at every stack when its test is over.
var atEnd struct {
	sync.Mutex
	looks []func(t testing.TB, s *Stack, logs map[string]string)
}

// AtEnd has look called for every stack when its test has ended well: its processes are gone, its database and its namespace
// still there, unless the test has taken them away. logs is what each process wrote, by a name of its own. Call it before the
// tests run.
func AtEnd(look func(t testing.TB, s *Stack, logs map[string]string)) {
	atEnd.Lock()
	defer atEnd.Unlock()
	atEnd.looks = append(atEnd.looks, look)
}

// processes are those that were started on a stack, and on its copies.
type processes struct {
	sync.Mutex
	all []*Process
}

func (p *processes) add(one *Process) {
	p.Lock()
	defer p.Unlock()
	p.all = append(p.all, one)
}

// watchEnd has the looks of AtEnd see the stack.
func (s *Stack) watchEnd(t testing.TB) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() || t.Skipped() {
			return
		}
		logs := map[string]string{}
		s.processes.Lock()
		for _, p := range s.processes.all {
			logs[p.name] += p.Output()
		}
		s.processes.Unlock()
		atEnd.Lock()
		looks := atEnd.looks
		atEnd.Unlock()
		for _, look := range looks {
			look(t, s, logs)
		}
	})
}
