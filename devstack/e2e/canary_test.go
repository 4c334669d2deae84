//go:build unix

package e2e_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	temporalclient "go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"google.golang.org/protobuf/proto"

	"gatehouse/devstack/stacktest"
)

// canaries are all secrets that clients of this process's tests have sent or were told, and whose addresses they were. Every
// stack is searched for all of them when its test is over (WEB-14, I-16): TestLeak says in depth what this says of each flow.
var canaries = &aviary{secrets: birds{}, persons: birds{}, codes: map[string]bool{}}

type aviary struct {
	sync.Mutex
	// secrets may be nowhere, persons in the database alone.
	secrets, persons birds
	// codes have six digits, so that other numbers look like them: they are looked for where a text begins and ends.
	codes map[string]bool
}

// birds are texts by their last bytes, which of tokens are the ones that differ.
type birds map[uint64][]string

const (
	birdTail = 8
	// shortestSecret is what nothing else can be by accident.
	shortestSecret = 16
)

// add leaves out what is short, texts of one letter, which test lengths, and what is sent everywhere to make things stumble.
func (b birds) add(text string) {
	if len(text) < shortestSecret || strings.Trim(text, text[:1]) == "" || madeOfScraps(text) {
		return
	}
	tail := binary.LittleEndian.Uint64([]byte(text[len(text)-birdTail:]))
	if !slices.Contains(b[tail], text) {
		b[tail] = append(b[tail], text)
	}
}

func madeOfScraps(text string) bool {
	return slices.ContainsFunc(scraps, func(scrap string) bool { return scrap != "" && strings.ReplaceAll(text, scrap, "") == "" })
}

// in returns the first text that content holds.
func (b birds) in(content []byte) (text string, found bool) {
	for end := birdTail; end <= len(content); end++ {
		for _, text := range b[binary.LittleEndian.Uint64(content[end-birdTail:end])] {
			if bytes.HasSuffix(content[:end], []byte(text)) {
				return text, true
			}
		}
	}
	return "", false
}

var (
	secretName = regexp.MustCompile(`(?i)passw|token|secret|otp|^code$|backup|api_?key|^key$`)
	personName = regexp.MustCompile(`(?i)^(email|username|new_?email)$`)
	// harmless are moments and ids, which members like last_password_change hold, and a test that searches for people by id.
	harmless   = regexp.MustCompile(`^(\d{4}-\d\d-\d\dT.*|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22})$`)
	quotedCode = regexp.MustCompile(`"([0-9]{6})"`)
)

// secret remembers what may be found nowhere: as it is, and in hex, as the database shows bytes.
func (a *aviary) secret(text string) {
	a.Lock()
	defer a.Unlock()
	a.keep(text)
}

func (a *aviary) keep(text string) {
	// An address is nobody's secret, whatever the field is called.
	if strings.Contains(text, "@") || harmless.MatchString(text) {
		return
	}
	a.secrets.add(text)
	a.secrets.add(hex.EncodeToString([]byte(text)))
}

// message remembers the secrets of a JSON text by the names of its members. Codes are secret only where clients were told them:
// others are guesses.
func (a *aviary) message(content []byte, told bool) {
	var value any
	if json.Unmarshal(content, &value) != nil {
		return
	}
	a.Lock()
	defer a.Unlock()
	a.walk("", value, told)
}

func (a *aviary) walk(name string, value any, told bool) {
	switch v := value.(type) {
	case map[string]any:
		for name, one := range v {
			a.walk(name, one, told)
		}
	case []any:
		for _, one := range v {
			a.walk(name, one, told)
		}
	case string:
		switch {
		case name == "code" && isCode.MatchString(v):
			a.codes[v] = a.codes[v] || told
		case secretName.MatchString(name):
			a.keep(v)
		case personName.MatchString(name):
			if local, _, _ := strings.Cut(v, "@"); !harmless.MatchString(local) {
				a.persons.add(local)
			}
		case name == "text": // of a message in the inbox
			for _, link := range linkToken.FindAllStringSubmatch(v, -1) {
				a.keep(link[1])
			}
		}
	}
}

// remembering passes requests on and remembers their secrets.
type remembering struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (r remembering) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Body != nil {
		sent, err := io.ReadAll(request.Body)
		if err != nil {
			return nil, err
		}
		request.Body = io.NopCloser(bytes.NewReader(sent))
		canaries.message(sent, false)
	}
	for _, name := range []string{"Authorization", "X-Api-Key", "Idempotency-Key"} {
		canaries.secret(strings.TrimPrefix(request.Header.Get(name), "Bearer "))
	}
	response, err := r.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	response.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), broken{err}))
	canaries.message(body, true)
	return response, nil
}

// broken ends a body as it ended before.
type broken struct{ err error }

// Read implements io.Reader.
func (b broken) Read([]byte) (int, error) {
	if b.err == nil {
		return 0, io.EOF
	}
	return 0, b.err
}

// secretIn returns a secret that content holds. Codes count between quotes, as JSON has them.
func (a *aviary) secretIn(content []byte) (string, bool) {
	a.Lock()
	defer a.Unlock()
	for _, code := range quotedCode.FindAllSubmatch(content, -1) {
		if a.codes[string(code[1])] {
			return string(code[1]), true
		}
	}
	return a.secrets.in(content)
}

func (a *aviary) personIn(content []byte) (string, bool) {
	a.Lock()
	defer a.Unlock()
	return a.persons.in(content)
}

// lookPatience bounds the search of one stack.
const lookPatience = 20 * time.Second

// requireNoCanary searches what a stack leaves behind. What the test has taken away is not searched: it is elsewhere.
func requireNoCanary(t testing.TB, s *stacktest.Stack, logs map[string]string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), lookPatience)
	defer cancel()
	for _, place := range slices.Sorted(maps.Keys(logs)) {
		requireUnknown(t, "the log of the "+place, []byte(logs[place]))
	}
	rows := storedRows(ctx, s.DatabaseURL)
	for table, content := range rows {
		if text, found := canaries.secretIn(content); found {
			t.Errorf("table %s holds %q", table, text)
		}
	}
	requireUnknown(t, "Temporal", keptHistories(ctx, s))
	requireUnknown(t, "the log of the database's server", serverLog(ctx, s.DatabaseURL))
}

// requireDiscreet holds a command line to what it was told: it prints nobody's secret that was known before, and names nobody whom
// its arguments do not name. New secrets are shown once; nobody has used them yet.
func requireDiscreet(t testing.TB, args []string, stdout, stderr string) {
	t.Helper()
	asked := strings.Join(args, " ")
	for where, said := range map[string]string{"standard output": stdout, "standard error": stderr} {
		if text, found := canaries.secretIn([]byte(said)); found && !strings.Contains(asked, text) {
			t.Errorf("`gatehouse %s` shows %q on its %s", asked, text, where)
		}
		if text, found := canaries.personIn([]byte(said)); found && !strings.Contains(asked, text) {
			t.Errorf("`gatehouse %s` names %q on its %s: %s", asked, text, where, around([]byte(said), text))
		}
	}
}

// searched is how far the log of each server was searched. What was written shortly before is searched again: its secrets may
// have become known since.
var searched = struct {
	sync.Mutex
	until map[string]int64
}{until: map[string]int64{}}

const searchedAgain = 256 << 10

// serverLog is what the database's server has logged since the search before, of whichever test. A server of somebody else's keeps
// its log to itself.
func serverLog(ctx context.Context, url string) []byte {
	db, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil
	}
	defer func() { _ = db.Close(ctx) }()
	var data string
	if db.QueryRow(ctx, `SHOW data_directory`).Scan(&data) != nil {
		return nil
	}
	path := filepath.Join(filepath.Dir(data), "postgres.log")
	log, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = log.Close() }()
	searched.Lock()
	defer searched.Unlock()
	if _, err := log.Seek(max(searched.until[path]-searchedAgain, 0), io.SeekStart); err != nil {
		return nil
	}
	content, err := io.ReadAll(log)
	if end, failed := log.Seek(0, io.SeekCurrent); err == nil && failed == nil {
		searched.until[path] = end
	}
	return content
}

// The log of the database's server is really read, and so is what commands print.
func TestCanaries_WEB14_LogsOfServersAndCommandsAreRead(t *testing.T) {
	t.Parallel()
	stack := stacktest.Start(t, stacktest.Options{})
	db := openDatabase(t, stack)
	line := "a line of " + rand.Text()
	_, err := db.Exec(t.Context(), `DO $$ BEGIN RAISE LOG '`+line+`'; END $$`)
	require.NoError(t, err)
	if strings.HasPrefix(stack.DatabaseURL, "postgres://gatehouse:") { // a cluster of ours
		require.Contains(t, string(serverLog(t.Context(), stack.DatabaseURL)), line)
	}
	loud := &recordingTB{TB: t}
	person := newEmail()
	canaries.message([]byte(`{"email":"`+person+`"}`), true)
	requireDiscreet(loud, []string{"flows", "find", "--email", person}, "flow of "+person, "")
	require.Empty(t, loud.errors, "it was asked for")
	requireDiscreet(loud, []string{"flows", "find"}, "", "no flow of "+person)
	require.Len(t, loud.errors, 1)
}

// recordingTB keeps what a check has to say.
type recordingTB struct {
	testing.TB
	errors []string
}

// Errorf implements testing.TB.
func (r *recordingTB) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

// requireUnknown holds a place that may know neither secrets nor people.
func requireUnknown(t testing.TB, place string, content []byte) {
	t.Helper()
	if text, found := canaries.secretIn(content); found {
		t.Errorf("%s holds %q: %s", place, text, around(content, text))
	}
	if text, found := canaries.personIn(content); found {
		t.Errorf("%s holds somebody's name, %q: %s", place, text, around(content, text))
	}
}

func around(content []byte, text string) string {
	const context = 150
	at := bytes.Index(content, []byte(text))
	return fmt.Sprintf("%q", content[max(0, at-context):min(len(content), at+len(text)+context)])
}

// storedRows is every row of every table as JSON, without the development inbox, which exists to show codes.
func storedRows(ctx context.Context, url string) map[string][]byte {
	db, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil
	}
	defer func() { _ = db.Close(ctx) }()
	found, err := db.Query(ctx, `SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'dev_inbox'`)
	if err != nil {
		return nil
	}
	tables, err := pgx.CollectRows(found, pgx.RowTo[string])
	if err != nil {
		return nil
	}
	rows := map[string][]byte{}
	for _, table := range tables {
		var content *string
		sql := `SELECT string_agg(to_jsonb(r)::text, E'\n') FROM ` + pgx.Identifier{table}.Sanitize() + ` r`
		if db.QueryRow(ctx, sql).Scan(&content) == nil && content != nil {
			rows[table] = []byte(*content)
		}
	}
	return rows
}

// searchedFlows bounds how many flows of a stack are searched, the newest first.
const searchedFlows = 60

// keptHistories is what Temporal's store holds of flows, as bytes. Control flows are a test's own.
func keptHistories(ctx context.Context, s *stacktest.Stack) []byte {
	c, err := temporalclient.NewLazyClient(temporalclient.Options{
		HostPort: s.TemporalAddress, Namespace: s.Namespace, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	if err != nil {
		return nil
	}
	defer c.Close()
	list, err := c.WorkflowService().ListWorkflowExecutions(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		Namespace: s.Namespace, Query: "WorkflowType != 'Control'", PageSize: searchedFlows,
	})
	if err != nil {
		return nil
	}
	content, _ := proto.Marshal(list)
	for _, flow := range list.GetExecutions() {
		page, err := c.WorkflowService().GetWorkflowExecutionHistory(ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
			Namespace: s.Namespace, Execution: flow.GetExecution(),
		})
		if err != nil {
			return content
		}
		raw, _ := proto.Marshal(page)
		content = append(content, raw...)
	}
	return content
}

// The search finds what is there: in a log, in a row as text and as bytes, in a history.
func TestCanaries_WEB14_I16_AreFound(t *testing.T) {
	t.Parallel()
	sing := &aviary{secrets: birds{}, persons: birds{}, codes: map[string]bool{}}
	sing.message([]byte(`{"email":"user-abcdefghijklmnop@example.com","password":"Correct-Horse-7-battery","deep":[{
		"refreshToken":"ghr_0123456789abcdef0123"}],"code":"482910","text":"see https://x/?token=AbCdEfGhIjKlMnOpQr","token":"short"}`), true)
	sing.message([]byte(`{"code":"482911"}`), false)
	for _, content := range []string{
		"a log with Correct-Horse-7-battery in it", `{"b":"\\x` + hex.EncodeToString([]byte(password)) + `"}`,
		`{"code":"482910"}`, "ghr_0123456789abcdef0123", "xAbCdEfGhIjKlMnOpQrx",
	} {
		_, found := sing.secretIn([]byte(content))
		require.True(t, found, content)
	}
	for _, content := range []string{"", "short", "482910", `{"micros":482910}`, `{"code":"482911"}`, "Correct-Horse-7-batter", "user-abcdefghijklmnop", "attery"} {
		_, found := sing.secretIn([]byte(content))
		require.False(t, found, content)
	}
	_, found := sing.personIn([]byte("mail to user-abcdefghijklmnop@example.com"))
	require.True(t, found)
	_, found = sing.personIn([]byte("mail to u***@example.com"))
	require.False(t, found)
}
