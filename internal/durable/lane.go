package durable

import (
	"context"
	"errors"
	"sync"

	"gatehouse/account"
)

// laneWidth is how many updates of one flow a process has under way at once. The server takes ten from all processes
// together; one more, brought by an update-with-start, makes it forget those that are under way and the flow's task with
// them (temporalio/temporal issue 7741). A flow takes its messages one by one, so nothing waits longer for it.
const laneWidth = 3

var errCrowded = errors.New("durable: others of the same flow were served until the time was up")

// lanes keep the updates of one flow from crowding it. The zero value is ready.
type lanes struct {
	mutex sync.Mutex
	open  map[string]*lane
}

type lane struct {
	seats chan struct{}
	// users are those who hold a seat or wait for one.
	users int
}

// enter waits for its turn at a flow. It returns account.ErrBusy, with nothing sent, when ctx ends before.
func (l *lanes) enter(ctx context.Context, flow string) (leave func(), err error) {
	l.mutex.Lock()
	if l.open == nil {
		l.open = map[string]*lane{}
	}
	mine := l.open[flow]
	if mine == nil {
		mine = &lane{seats: make(chan struct{}, laneWidth)}
		l.open[flow] = mine
	}
	mine.users++
	l.mutex.Unlock()

	leave = func() {
		<-mine.seats
		l.drop(flow, mine)
	}
	select {
	case mine.seats <- struct{}{}:
		return leave, nil // a free seat is taken whatever becomes of ctx
	default:
	}
	select {
	case mine.seats <- struct{}{}:
		return leave, nil
	case <-ctx.Done():
		l.drop(flow, mine)
		return nil, account.ErrBusy.Because(errCrowded)
	}
}

func (l *lanes) drop(flow string, mine *lane) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if mine.users--; mine.users == 0 {
		delete(l.open, flow)
	}
}
