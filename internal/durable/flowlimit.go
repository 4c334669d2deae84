package durable

import (
	"context"
	"errors"
	"sync"

	"gatehouse/account"
)

// updatesPerFlow is how many updates of one flow this process has under way at once; the others wait for their turn here. The
// server accepts ten in flight per flow from all processes together. An eleventh that comes with a start makes it drop all of
// them, and the flow's current task (temporalio/temporal issue 7741). Waiting here delays nobody: a flow handles its updates one
// by one anyway.
const updatesPerFlow = 3

var errCrowded = errors.New("durable: others of the same flow were served until the time was up")

// flowLimits limit how many updates of each flow are under way. The zero value is ready.
type flowLimits struct {
	mutex sync.Mutex
	// open are the limits of the flows that somebody asks at the moment, by workflow id.
	open map[string]*flowLimit
}

// flowLimit is a semaphore for one flow.
type flowLimit struct {
	seats chan struct{}
	// users are those who hold a seat or wait for one.
	users int
}

// enter waits for a free seat at a flow. It returns account.ErrBusy, with nothing sent, when ctx ends before.
func (l *flowLimits) enter(ctx context.Context, flow string) (leave func(), err error) {
	l.mutex.Lock()
	if l.open == nil {
		l.open = map[string]*flowLimit{}
	}
	mine := l.open[flow]
	if mine == nil {
		mine = &flowLimit{seats: make(chan struct{}, updatesPerFlow)}
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

// drop forgets the limit of a flow that nobody asks any more.
func (l *flowLimits) drop(flow string, mine *flowLimit) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if mine.users--; mine.users == 0 {
		delete(l.open, flow)
	}
}
