//go:build unix

package stack

import (
	"errors"
	"path/filepath"
	"strings"
	"time"
)

// keep notes a part that runs, where stop and kill find it.
func (r *runner) keep(set func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	set()
}

// stop stops what runs, each part after those that use it.
func (r *runner) stop() error {
	r.mu.Lock()
	api, worker, ui, temporal, cluster := r.api, r.worker, r.ui, r.temporal, r.cluster
	r.mu.Unlock()
	if api != nil || cluster != nil || temporal != nil {
		r.console.say("\nStopping (Ctrl-C again to kill) ...")
	}
	var faults []error
	stopped := func(what string, stop func() error) {
		err := r.console.step(what, func() (string, error) { return "stopped", stop() })
		faults = append(faults, err)
	}
	if api != nil {
		stopped("API", api.stop)
	}
	if worker != nil {
		stopped("Worker", worker.stop)
	}
	if ui != nil {
		stopped("Temporal UI", func() error { ui.Stop(); return nil })
	}
	if temporal != nil {
		stopped("Temporal", temporal.Stop)
	}
	if cluster != nil {
		stopped("PostgreSQL", cluster.Stop)
	}
	return errors.Join(faults...)
}

// killWhen kills the child processes once signal is closed. What runs in this process ends with it.
func (r *runner) killWhen(signal <-chan struct{}) (cancel func()) {
	over := make(chan struct{})
	go func() {
		select {
		case <-over:
			return
		case <-signal:
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, c := range []*child{r.api, r.worker} {
			if c != nil {
				c.kill()
			}
		}
		if r.cluster != nil {
			r.cluster.Kill()
		}
	}()
	return func() { close(over) }
}

// printAddresses tells where everything is and what to do next.
func (r *runner) printAddresses(took time.Duration) {
	s := r.settings
	var b strings.Builder
	b.WriteString("\nGatehouse is running (ready in " + took.Round(100*time.Millisecond).String() + ")\n\n")
	row := func(what, where string) {
		b.WriteString("  " + what + strings.Repeat(" ", max(1, 16-len(what))) + where + "\n")
	}
	row("API", s.BaseURL)
	row("API reference", s.BaseURL+"/docs")
	row("Inbox", s.BaseURL+"/dev/inbox")
	row("Temporal UI", s.TemporalUIURL+"/namespaces/"+s.Namespace+"/workflows")
	row("Operations", s.OpsURL()+"/readyz  /healthz  /metrics")
	row("Settings", s.EnvFile())
	row("Temporal log", filepath.Join(s.DataDir, "temporal.log"))
	if s.Worker == "off" {
		b.WriteString("\n  No worker runs (GATEHOUSE_WORKER=off): start one in another terminal with: make worker\n")
	}
	b.WriteString("\n  Try it:  make demo        Stop it:  Ctrl-C\n")
	r.console.say("%s", b.String())
}
