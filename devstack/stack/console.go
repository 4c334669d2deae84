//go:build unix

package stack

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/mattn/go-isatty"

	"gatehouse/account"
)

// keptLines is how many last lines of a process an error shows.
const keptLines = 20

// console writes whole lines from several processes to one terminal.
type console struct {
	mu     sync.Mutex
	out    io.Writer
	colour bool
	clock  account.Clock
}

func newConsole(out io.Writer, environ []string) *console {
	c := &console{out: out, clock: account.SystemClock{}, colour: true}
	f, isFile := out.(*os.File)
	for _, pair := range environ {
		if len(pair) > len("NO_COLOR=") && pair[:len("NO_COLOR=")] == "NO_COLOR=" {
			c.colour = false
		}
	}
	c.colour = c.colour && isFile && isatty.IsTerminal(f.Fd())
	return c
}

// say writes one line of our own.
func (c *console) say(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = fmt.Fprintf(c.out, format+"\n", args...)
}

// step does a thing and says how long it took.
func (c *console) step(what string, do func() (string, error)) error {
	begin := c.clock.Now()
	detail, err := do()
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	c.say("  %-12s %s (%s)", what, detail, c.clock.Now().Sub(begin).Round(10*time.Millisecond))
	return nil
}

// lines is a writer that puts a name before every line and remembers the last ones.
type lines struct {
	console *console
	name    string
	colour  string

	mu      sync.Mutex
	partial []byte
	last    []string
}

func (c *console) lines(name, colour string) *lines {
	return &lines{console: c, name: name, colour: colour}
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial, p...)
	for {
		i := bytes.IndexByte(l.partial, '\n')
		if i < 0 {
			return len(p), nil
		}
		l.line(string(l.partial[:i]))
		l.partial = l.partial[i+1:]
	}
}

func (l *lines) line(text string) {
	l.last = append(l.last, text)
	l.last = l.last[max(0, len(l.last)-keptLines):]
	if l.console.colour {
		l.console.say("\x1b[%sm%-7s|\x1b[0m %s", l.colour, l.name, text)
		return
	}
	l.console.say("%-7s| %s", l.name, text)
}

// tail returns the last lines.
func (l *lines) tail() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.last...)
}
