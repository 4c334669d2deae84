package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"gatehouse/account"
)

// challengeRow is a row of challenges. There is at most one live challenge per purpose and subject.
type challengeRow struct {
	bun.BaseModel `bun:"table:challenges,alias:ch"`

	ID            uuid.UUID       `bun:"id,pk,type:uuid"`
	Purpose       string          `bun:"purpose,notnull"`
	Subject       []byte          `bun:"subject,notnull"`
	AccountID     *uuid.UUID      `bun:"account_id,type:uuid"`
	SessionID     *uuid.UUID      `bun:"session_id,type:uuid"`
	Channel       string          `bun:"channel,notnull"`
	Destination   string          `bun:"destination,notnull"`
	CodeHash      []byte          `bun:"code_hash"`
	TokenHash     []byte          `bun:"token_hash"`
	Attempts      int             `bun:"attempts,notnull"`
	CreatedAt     time.Time       `bun:"created_at,nullzero,notnull"`
	SendBy        time.Time       `bun:"send_by,notnull"`
	SentAt        *time.Time      `bun:"sent_at"`
	CodeExpiresAt time.Time       `bun:"code_expires_at,notnull"`
	LinkExpiresAt *time.Time      `bun:"link_expires_at"`
	Proof         json.RawMessage `bun:"proof,type:jsonb"`
	ConsumedAt    *time.Time      `bun:"consumed_at"`
	SupersededAt  *time.Time      `bun:"superseded_at"`
	Result        json.RawMessage `bun:"result,type:jsonb"`
}

// challengeColumns are the columns of challengeRow: bun refuses a column that its row does not name.
const challengeColumns = `id, purpose, subject, account_id, session_id, channel, destination, code_hash, token_hash, attempts,
	created_at, send_by, sent_at, code_expires_at, link_expires_at, proof, consumed_at, superseded_at, result`

// targets are where the columns of challengeColumns go.
func (r *challengeRow) targets() []any {
	return []any{
		&r.ID, &r.Purpose, &r.Subject, &r.AccountID, &r.SessionID, &r.Channel, &r.Destination, &r.CodeHash, &r.TokenHash, &r.Attempts,
		&r.CreatedAt, &r.SendBy, &r.SentAt, &r.CodeExpiresAt, &r.LinkExpiresAt, (*[]byte)(&r.Proof), &r.ConsumedAt, &r.SupersededAt,
		(*[]byte)(&r.Result),
	}
}

func (r challengeRow) challenge() account.Challenge {
	return account.Challenge{
		ID: r.ID, Purpose: account.Purpose(r.Purpose), AccountID: r.AccountID, SessionID: r.SessionID,
		Channel: account.Channel(r.Channel), Destination: r.Destination, Attempts: r.Attempts, CreatedAt: r.CreatedAt, SendBy: r.SendBy,
		CodeExpiresAt: r.CodeExpiresAt, LinkExpiresAt: r.LinkExpiresAt, SentAt: r.SentAt,
	}
}

// NewChallenge is a challenge to be issued. LinkTTL 0 means no link, SessionID nil that its code counts for any session.
type NewChallenge struct {
	ID          uuid.UUID
	Purpose     account.Purpose
	Subject     []byte
	AccountID   *uuid.UUID
	SessionID   *uuid.UUID
	Channel     account.Channel
	Destination string
	CodeTTL     time.Duration
	LinkTTL     time.Duration
}

// IssueChallenge makes n the live challenge of its purpose and subject, in place of the one before, whose code and link
// die. Issuing the same id again changes nothing.
func (s *Store) IssueChallenge(ctx context.Context, n NewChallenge) (account.Challenge, error) {
	var ch account.Challenge
	var purpose, channel string
	var attempts int64
	subject := []any{string(n.Purpose), n.Subject}
	err := s.atOnce(ctx,
		// One at a time per subject: two at once would both find no live challenge to supersede, and then the second INSERT would break
		// the index of live challenges (challenges_live_key), or the two would deadlock.
		&step{query: `SELECT pg_advisory_xact_lock(hashtextextended($1::text || encode($2::bytea, 'hex'), 0))`, args: subject},
		&step{
			query: `UPDATE challenges SET superseded_at = now()
				WHERE purpose = $1 AND subject = $2 AND consumed_at IS NULL AND superseded_at IS NULL
					AND NOT EXISTS (SELECT 1 FROM challenges WHERE id = $3)`,
			args: append(subject, n.ID),
		},
		&step{
			query: `INSERT INTO challenges
				(id, purpose, subject, account_id, session_id, channel, destination, send_by, code_expires_at, link_expires_at)
				VALUES ($1, $2, $3, $4::uuid, $5::uuid, $6, $7, now() + $8::float8 * interval '1 second', now() + $8::float8 * interval '1 second',
					now() + nullif($9::float8, 0) * interval '1 second')
				ON CONFLICT (id) DO NOTHING`,
			args: []any{
				n.ID, string(n.Purpose), n.Subject, n.AccountID, n.SessionID, string(n.Channel), n.Destination,
				seconds(n.CodeTTL), seconds(n.LinkTTL),
			},
		},
		&step{
			query: `SELECT id, purpose, account_id, session_id, channel, destination, attempts::bigint, created_at, send_by,
					code_expires_at, link_expires_at, sent_at
				FROM challenges WHERE id = $1 AND purpose = $2 AND subject = $3`,
			args: []any{n.ID, string(n.Purpose), n.Subject},
			into: []any{
				&ch.ID, &purpose, &ch.AccountID, &ch.SessionID, &channel, &ch.Destination, &attempts, &ch.CreatedAt, &ch.SendBy,
				&ch.CodeExpiresAt, &ch.LinkExpiresAt, &ch.SentAt,
			},
		})
	if err == nil && ch.ID != n.ID {
		err = errNoRows
	}
	ch.Purpose, ch.Channel, ch.Attempts = account.Purpose(purpose), account.Channel(channel), int(attempts)
	return ch, err
}

// LiveChallenge returns the challenge whose code is or will be valid for a subject. It returns account.ErrNotFound when
// there is none.
func (s *Store) LiveChallenge(ctx context.Context, purpose account.Purpose, subject []byte) (account.Challenge, error) {
	var row challengeRow
	err := s.only(ctx, `
		SELECT `+challengeColumns+` FROM challenges
		WHERE purpose = $1 AND subject = $2 AND consumed_at IS NULL AND superseded_at IS NULL AND code_expires_at > now()`,
		[]any{string(purpose), subject}, row.targets()...)
	return row.challenge(), err
}

// StoreCode keeps the hashes of a challenge's code and link before they are sent. It returns account.ErrNotFound when the
// challenge is no longer live or its time to be sent has passed.
func (s *Store) StoreCode(ctx context.Context, id uuid.UUID, codeHash, tokenHash []byte) (account.Challenge, error) {
	var row challengeRow
	err := s.only(ctx, `
		UPDATE challenges SET code_hash = $2, token_hash = CASE WHEN link_expires_at IS NULL THEN NULL ELSE $3::bytea END
		WHERE id = $1 AND consumed_at IS NULL AND superseded_at IS NULL AND send_by > now() RETURNING `+challengeColumns,
		[]any{id, codeHash, tokenHash}, row.targets()...)
	return row.challenge(), err
}

// MarkCodeSent records that the provider accepted a challenge's code: its life counts from the first acceptance.
// It returns the moment the code expires.
func (s *Store) MarkCodeSent(ctx context.Context, id uuid.UUID, codeTTL, linkTTL time.Duration) (time.Time, error) {
	var expires time.Time
	err := s.only(ctx, `
		UPDATE challenges SET
			code_expires_at = CASE WHEN sent_at IS NULL THEN now() + $2::float8 * interval '1 second' ELSE code_expires_at END,
			link_expires_at = CASE WHEN sent_at IS NULL AND link_expires_at IS NOT NULL
				THEN now() + $3::float8 * interval '1 second' ELSE link_expires_at END,
			sent_at = coalesce(sent_at, now())
		WHERE id = $1 RETURNING code_expires_at`, []any{id, seconds(codeTTL), seconds(linkTTL)}, &expires)
	return expires, err
}

// provable holds for a code that may still prove something: not consumed, and not just proven by another caller.
// $1 is the caller's key, NULL for none, $2 the lease in seconds.
const provable = `superseded_at IS NULL AND consumed_at IS NULL AND (proven_at IS NULL OR proof_key = $1::text
	OR proven_at < now() - $2::float8 * interval '1 second')`

// Prove marks a challenge as proven and parks proof, the context of the change that it allows. Of many callers with the
// right code one succeeds; the others get account.ErrNotFound. Either way it takes back what CountGuess charged the sources of a
// guess that is Charged. Prove again under the same g.ProofKey succeeds, too, and changes nothing once the change that was proven
// is made, perhaps this moment.
func (s *Store) Prove(ctx context.Context, id uuid.UUID, g Guess, proof Proof) error {
	o, by := proof.Origin, account.ActingIn(ctx)
	text, err := json.Marshal(proofJSON{
		IP: o.IP, UserAgent: o.UserAgent, Fingerprint: o.Fingerprint, Attribution: o.Attribution, AnonymousID: o.AnonymousID,
		Parked: proof.PasswordHash, Use: proof.Use,
		DeviceID: proof.Device.ID, DeviceName: proof.Device.Name, Platform: proof.Device.Platform, Session: proof.Session,
		By: &by,
	})
	if err != nil {
		return err
	}
	key := nullable(g.ProofKey)
	proven := &step{
		query: `UPDATE challenges SET proven_at = now(), proof_key = $1::text, proof = $3::text::jsonb WHERE id = $4 AND ` + provable,
		args:  []any{key, seconds(g.Lease), string(text), id},
	}
	steps := []*step{proven}
	if g.Charged {
		steps = append(steps, g.Spread.refunding()...)
	}
	if err = s.atOnce(ctx, steps...); err == nil && proven.touched == 0 {
		err = errNoRows
	}
	if g.ProofKey == "" || !errors.Is(err, account.ErrNotFound) {
		return err
	}
	var own bool
	err = s.db.NewRaw(`SELECT proof_key IS NOT DISTINCT FROM ? FROM challenges WHERE id = ? AND consumed_at IS NOT NULL`, key, id).Scan(ctx, &own)
	if err == nil && !own {
		return account.ErrNotFound
	}
	return translate(err)
}

// ChallengeByLink returns the challenge of an unexpired link, and its result when it was already consumed under proofKey.
// It returns account.ErrNotFound when there is none.
func (s *Store) ChallengeByLink(ctx context.Context, purpose account.Purpose, tokenHash []byte, proofKey string) (account.Challenge, *ChallengeResult, error) {
	var row challengeRow
	err := s.db.NewSelect().Model(&row).
		Where("purpose = ? AND token_hash = ? AND link_expires_at > now() AND superseded_at IS NULL", purpose, tokenHash).
		Where("(consumed_at IS NULL OR proof_key = ?)", nullable(proofKey)).Scan(ctx)
	if err != nil {
		return account.Challenge{}, nil, translate(err)
	}
	if row.ConsumedAt == nil {
		return row.challenge(), nil, nil
	}
	done, err := decodeResult(row.Result)
	return row.challenge(), done, err
}

// Proof is what a client said together with the right code: the context of the change, parked beside the challenge
// because it may hold personal data.
type Proof struct {
	Origin account.Origin
	// PasswordHash is the new password of a reset or change; consuming the challenge removes it from there.
	PasswordHash string
	// Use is what a code of account.PurposePasswordChange is spent on.
	Use CodeUse
	// Device is what the client calls its device, whose login this proves.
	Device account.ClientDevice
	// Session is the session that showed the code, where one must: the change is made only while it lives.
	Session *uuid.UUID
}

// proofJSON is how a Proof is stored.
type proofJSON struct {
	IP          string            `json:"ip,omitempty"`
	UserAgent   string            `json:"user_agent,omitempty"`
	Fingerprint json.RawMessage   `json:"fingerprint,omitempty"`
	Attribution map[string]string `json:"attribution,omitempty"`
	AnonymousID *string           `json:"anonymous_id,omitempty"`
	Parked      string            `json:"parked,omitempty"`
	Use         CodeUse           `json:"use,omitempty"`
	DeviceID    string            `json:"device_id,omitempty"`
	DeviceName  *string           `json:"device_name,omitempty"`
	Platform    *string           `json:"platform,omitempty"`
	Session     *uuid.UUID        `json:"session,omitempty"`
	// By is who showed the code; proofs of older programs have none.
	By *account.Acting `json:"by,omitempty"`
}

// ChallengeResult is what consuming a challenge brought, kept so that the same step can be answered again.
type ChallengeResult struct {
	AccountID      uuid.UUID `json:"account_id"`
	SessionID      uuid.UUID `json:"session_id"`
	CreditsAwarded int64     `json:"credits_awarded"`
	// PasswordSet and HadPassword tell what became of the password, and whether there was one before.
	PasswordSet bool `json:"password_set,omitempty"`
	HadPassword bool `json:"had_password,omitempty"`
	// SessionsEnded is how many sessions the owner has ended by it.
	SessionsEnded int `json:"sessions_ended,omitempty"`
	// DeviceID is the device that is trusted since.
	DeviceID uuid.UUID `json:"device_id,omitzero"`
}

// consume takes a proven challenge out of the game inside the transaction of the change it allows. A challenge consumed
// before returns its result; one that is not proven (any more), or by a session that has ended since, returns
// account.ErrInvalidCode.
func (s *Store) consume(ctx context.Context, id uuid.UUID) (row challengeRow, done *ChallengeResult, err error) {
	err = s.only(ctx, `
		UPDATE challenges SET consumed_at = now()
		WHERE id = $1 AND proven_at IS NOT NULL AND consumed_at IS NULL AND superseded_at IS NULL RETURNING `+challengeColumns,
		[]any{id}, row.targets()...)
	if err == nil {
		s.prover, err = row.prover()
	}
	if err == nil {
		err = s.holdProver(ctx, row)
	}
	if !errors.Is(err, account.ErrNotFound) {
		return row, nil, err
	}
	err = translate(s.db.NewSelect().Model(&row).Where("id = ? AND consumed_at IS NOT NULL", id).Scan(ctx))
	if errors.Is(err, account.ErrNotFound) {
		return row, nil, account.ErrInvalidCode.Because(errors.New("the challenge is not proven"))
	}
	if err != nil {
		return row, nil, err
	}
	done, err = decodeResult(row.Result)
	return row, done, err
}

// holdProver keeps the session that has shown a code as it is until the change is made, where the change is such a session's:
// whoever has ended it meanwhile has ended what it was about to bind, too (security.md RST-03).
func (s *Store) holdProver(ctx context.Context, row challengeRow) error {
	proof, err := row.proof()
	if err != nil || proof.Session == nil || row.AccountID == nil {
		return err
	}
	err = s.HoldSession(ctx, *row.AccountID, *proof.Session)
	if errors.Is(err, account.ErrNotFound) {
		return account.ErrInvalidCode.Because(errors.New("the session that showed it has ended"))
	}
	return err
}

func (s *Store) keepResult(ctx context.Context, id uuid.UUID, r ChallengeResult) error {
	kept, err := r.kept(id)
	if err == nil {
		err = s.atOnce(ctx, kept)
	}
	if err == nil && kept.touched == 0 {
		return errNoRows
	}
	return err
}

// kept is keepResult as a step among others of the transaction that has consumed the challenge.
func (r ChallengeResult) kept(id uuid.UUID) (*step, error) {
	text, err := json.Marshal(r)
	return &step{query: `UPDATE challenges SET result = $1::text::jsonb WHERE id = $2`, args: []any{string(text), id}}, err
}

func decodeResult(text json.RawMessage) (*ChallengeResult, error) {
	var r ChallengeResult
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, err
	}
	return &r, nil
}

// prover is who showed the code, nil where that was not kept.
func (r challengeRow) prover() (*account.Acting, error) {
	var p proofJSON
	if len(r.Proof) == 0 {
		return nil, nil
	}
	err := json.Unmarshal(r.Proof, &p)
	return p.By, err
}

func (r challengeRow) proof() (Proof, error) {
	var p proofJSON
	if len(r.Proof) == 0 {
		return Proof{}, nil
	}
	err := json.Unmarshal(r.Proof, &p)
	return Proof{
		PasswordHash: p.Parked, Use: p.Use, Session: p.Session,
		Device: account.ClientDevice{ID: p.DeviceID, Name: p.DeviceName, Platform: p.Platform},
		Origin: account.Origin{
			IP: p.IP, UserAgent: p.UserAgent, Fingerprint: p.Fingerprint, Attribution: p.Attribution, AnonymousID: p.AnonymousID,
		},
	}, err
}

// holdChallengesOf is HoldChallenges for the account that a row of a table is of: before the row itself, in the order of whoever
// spends a code.
func (s *Store) holdChallengesOf(ctx context.Context, table string, id uuid.UUID) error {
	_, err := s.db.NewRaw(`
		SELECT 1 FROM challenges WHERE account_id = (SELECT account_id FROM `+table+` WHERE id = ?)
			AND consumed_at IS NULL AND superseded_at IS NULL ORDER BY id FOR UPDATE`, id).Exec(ctx)
	return translate(err)
}

// ChallengeExists reports whether a challenge was ever issued under an id.
func (s *Store) ChallengeExists(ctx context.Context, id uuid.UUID) (bool, error) {
	var exists bool
	err := s.db.NewRaw(`SELECT EXISTS (SELECT 1 FROM challenges WHERE id = ?)`, id).Scan(ctx, &exists)
	return exists, translate(err)
}

// ResultOf returns what consuming a challenge brought, or account.ErrNotFound.
func (s *Store) ResultOf(ctx context.Context, id uuid.UUID) (ChallengeResult, error) {
	var row challengeRow
	err := s.db.NewSelect().Model(&row).Where("id = ? AND consumed_at IS NOT NULL AND result IS NOT NULL", id).Scan(ctx)
	if err != nil {
		return ChallengeResult{}, translate(err)
	}
	r, err := decodeResult(row.Result)
	if err != nil {
		return ChallengeResult{}, err
	}
	return *r, nil
}
