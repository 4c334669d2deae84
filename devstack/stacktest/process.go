//go:build unix

package stacktest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse/internal/machine"
	"gatehouse/internal/testkit"
)

// Process is a running API or worker.
type Process struct {
	name    string
	process *machine.Process
	output  *output
}

func (s *Stack) start(t testing.TB, name string, extra map[string]string) *Process {
	t.Helper()
	p := &Process{name: name, output: &output{}}
	cmd := exec.Command(s.binary, name) //nolint:gosec // our own binary
	cmd.Env, cmd.Stdout, cmd.Stderr = s.Env(extra), p.output, p.output
	process, err := machine.Start(cmd, syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	p.process = process
	s.processes.add(p)
	file := filepath.Join(t.ArtifactDir(), fmt.Sprintf("%s-%d.log", name, p.PID()))
	t.Cleanup(func() {
		p.process.Kill()
		if t.Failed() {
			p.tell(t, file)
		}
	})
	return p
}

// Kill is kill -9: the process gets no chance to finish anything. It is gone on return.
func (p *Process) Kill() { p.process.Kill() }

// Stop asks the process to finish (SIGTERM) and fails the test when it does not within patience or ends in an error.
func (p *Process) Stop(t testing.TB, patience time.Duration) {
	t.Helper()
	if err := p.process.Stop(syscall.SIGTERM, patience); err != nil {
		t.Errorf("the %s: %v", p.name, err)
		return
	}
	if err := p.process.Err(); err != nil {
		t.Errorf("the %s ended with: %v", p.name, err)
	}
}

// Pause freezes the process (SIGSTOP), as a machine that hangs; Resume lets it go on.
func (p *Process) Pause(t testing.TB) { p.signal(t, syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (p *Process) Resume(t testing.TB) { p.signal(t, syscall.SIGCONT) }

func (p *Process) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := p.process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// PID is the id of the process.
func (p *Process) PID() int { return p.process.PID() }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.process.Done() }

// Err waits for the process to end and returns how it did, nil for success.
func (p *Process) Err() error { return p.process.Err() }

// tell logs what went wrong in the process, and keeps all of its output in a file for `go test -artifacts`: among thousands of
// lines nobody sees what the test has said itself.
func (p *Process) tell(t testing.TB, file string) {
	t.Helper()
	const most = 20
	var wrong []string
	for line := range strings.Lines(p.Output()) {
		if !strings.Contains(line, `"level":"INFO"`) {
			wrong = append(wrong, line)
		}
	}
	if err := os.WriteFile(file, []byte(p.Output()), 0o600); err != nil {
		t.Logf("the output of the %s is not kept: %v", p.name, err)
	}
	last := strings.Join(wrong[max(0, len(wrong)-most):], "")
	t.Logf("the last that the %s %d wrote, beside INFO (all of it with `go test -artifacts`):\n%s", p.name, p.PID(), last)
}

// Output is all that the process has written so far.
func (p *Process) Output() string { return p.output.String() }

// await fails the test at once when the process ends instead.
func (p *Process) await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	testkit.Eventually(t, readyPatience, func() bool {
		select {
		case <-p.process.Done():
			t.Fatalf("waiting for %s, but the %s ended: %v\n%s", what, p.name, p.process.Err(), p.Output())
		default:
		}
		return cond()
	}, what)
}

// output collects what a process writes.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
