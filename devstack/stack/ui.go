//go:build unix

package stack

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	uiserver "github.com/temporalio/ui-server/v2/server"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	"github.com/temporalio/ui-server/v2/server/server_options"

	"gatehouse/internal/machine"
)

const uiPatience = 10 * time.Second

var silent = slog.New(slog.DiscardHandler)

// UIOptions say what a Temporal UI shows.
type UIOptions struct {
	// Port on 127.0.0.1; 0 takes a free one.
	Port int
	// TemporalAddress is the frontend it asks, Namespace the one it opens with.
	TemporalAddress, Namespace string
	// CodecEndpoint is the URL whose /decode makes encrypted payloads readable in the browser.
	CodecEndpoint string
	// CodecCredentials has the browser send what it knows of the codec's user and password.
	CodecCredentials bool
}

// UI is a running Temporal UI. It has no authentication and listens on 127.0.0.1 only.
type UI struct {
	// URL is where a browser finds it.
	URL string

	server *uiserver.Server
	ended  chan struct{}
}

// StartUI starts the UI and returns once it answers.
func StartUI(ctx context.Context, o UIOptions) (*UI, error) {
	port := o.Port
	if port == 0 {
		free, err := machine.FreePort()
		if err != nil {
			return nil, err
		}
		port = free
	} else if machine.CanListen(machine.LoopbackAddress(port)) != nil {
		// Checked because the UI server would end the whole process.
		return nil, fmt.Errorf("%w: the Temporal UI cannot use port %d; set GATEHOUSE_TEMPORAL_UI_PORT to a free one", ErrPortTaken, port)
	}
	u := &UI{
		URL:   fmt.Sprintf("http://localhost:%d", port),
		ended: make(chan struct{}),
		server: uiserver.NewServer(server_options.WithConfigProvider(&uiconfig.Config{
			Host: "127.0.0.1", Port: port, TemporalGRPCAddress: o.TemporalAddress, EnableUI: true, DefaultNamespace: o.Namespace,
			CORS: uiconfig.CORS{CookieInsecure: true}, Codec: uiconfig.Codec{Endpoint: o.CodecEndpoint, IncludeCredentials: o.CodecCredentials},
			HideLogs: true, DisableNewsFetch: true,
		})),
	}
	go func() {
		defer close(u.ended)
		_ = u.server.Start() // always nil: it ends the process when it cannot listen
	}()
	ctx, cancel := context.WithTimeout(ctx, uiPatience)
	defer cancel()
	health := "http://" + machine.LoopbackAddress(port) + "/healthz"
	if err := await(ctx, "the Temporal UI", func() error { return get(ctx, health) }); err != nil {
		u.Stop()
		return nil, err
	}
	return u, nil
}

// Stop stops the UI.
func (u *UI) Stop() {
	u.server.Stop()
	<-u.ended
}

// get returns nil when url answers 200.
func get(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", url, err)
	}
	answer, err := (&http.Client{Timeout: uiPatience}).Do(request)
	if err != nil {
		return fmt.Errorf("ask %s: %w", url, err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("ask %s: it answers %s", url, answer.Status)
	}
	return nil
}
