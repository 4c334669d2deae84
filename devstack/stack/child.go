//go:build unix

package stack

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"gatehouse/account"
	"gatehouse/internal/machine"
)

const (
	// childPatience is longer than a process takes to finish its requests and activities (GATEHOUSE_SHUTDOWN_TIMEOUT).
	childPatience = 25 * time.Second
	// A process that dies quickLimit times in a row, each within quick, is given up.
	quick      = 10 * time.Second
	quickLimit = 5
	firstPause = 250 * time.Millisecond
	longPause  = 4 * time.Second
)

// child is one of our processes, started again when it dies.
type child struct {
	name, path string
	args       []string
	env        []string
	output     *lines
	console    *console
	clock      account.Clock

	mu       sync.Mutex
	process  *machine.Process
	stopping chan struct{}
	ended    chan struct{}
}

// start runs the child until stop, reporting to gaveUp when it dies again and again.
func (c *child) start(gaveUp func(error)) error {
	c.stopping, c.ended = make(chan struct{}), make(chan struct{})
	process, err := c.launch()
	if err != nil {
		return err
	}
	go func() {
		defer close(c.ended)
		if err := c.supervise(process); err != nil {
			gaveUp(err)
		}
	}()
	return nil
}

func (c *child) launch() (*machine.Process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.stopping:
		return nil, context.Canceled
	default:
	}
	cmd := exec.Command(c.path, c.args...) //nolint:gosec // our own binary
	cmd.Env, cmd.Stdout, cmd.Stderr = c.env, c.output, c.output
	process, err := machine.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return nil, err
	}
	c.process = process
	return process, nil
}

func (c *child) supervise(process *machine.Process) error {
	deaths := 0
	for {
		begin := c.clock.Now()
		<-process.Done()
		if c.isStopping() {
			return nil
		}
		if deaths++; c.clock.Now().Sub(begin) > quick {
			deaths = 1
		}
		if deaths == quickLimit {
			return fmt.Errorf("the %s died %d times in a row (%s); its last lines:\n  %s",
				c.name, deaths, reason(process.Err()), strings.Join(c.output.tail(), "\n  "))
		}
		pause := min(firstPause<<(deaths-1), longPause)
		c.console.say("  the %s died (%s), starting it again in %s", c.name, reason(process.Err()), pause)
		select {
		case <-c.stopping:
			return nil
		case <-time.After(pause):
		}
		again, err := c.launch()
		if err != nil {
			if c.isStopping() {
				return nil
			}
			return err
		}
		process = again
	}
}

func reason(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

func (c *child) isStopping() bool {
	select {
	case <-c.stopping:
		return true
	default:
		return false
	}
}

// stop lets the child finish what it does, and kills it when that takes too long.
func (c *child) stop() error {
	process := c.stopStarting()
	err := process.Stop(syscall.SIGTERM, childPatience)
	<-c.ended
	return err
}

// kill ends the child at once.
func (c *child) kill() { c.stopStarting().Kill() }

func (c *child) stopStarting() *machine.Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.isStopping() {
		close(c.stopping)
	}
	return c.process
}
