//go:build unix

package stacktest

import (
	"sync"
	"testing"
)

// atEnd looks at every stack when its test is over.
var atEnd struct {
	sync.Mutex
	looks    []func(t testing.TB, s *Stack, logs map[string]string)
	commands []func(t testing.TB, args []string, stdout, stderr string)
}

// AtEnd has look called for every stack when its test has ended well: its processes are gone, its database and its namespace
// still there, unless the test has taken them away. logs is what each process wrote, by a name of its own. Call it before the
// tests run.
func AtEnd(look func(t testing.TB, s *Stack, logs map[string]string)) {
	atEnd.Lock()
	defer atEnd.Unlock()
	atEnd.looks = append(atEnd.looks, look)
}

// AtCommand has look called for every command line that a test has run, with what it has printed and where to.
func AtCommand(look func(t testing.TB, args []string, stdout, stderr string)) {
	atEnd.Lock()
	defer atEnd.Unlock()
	atEnd.commands = append(atEnd.commands, look)
}

func lookAtCommand(t testing.TB, args []string, stdout, stderr string) {
	t.Helper()
	atEnd.Lock()
	looks := atEnd.commands
	atEnd.Unlock()
	for _, look := range looks {
		look(t, args, stdout, stderr)
	}
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
