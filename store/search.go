package store

import (
	"context"
	"strings"
	"unicode"

	"gatehouse/account"
)

// accountShown says whom others may find (contract D13, D14). Indexes are for exactly this condition.
const accountShown = `a.username IS NOT NULL AND a.onboarding_done AND a.is_active AND NOT a.is_locked AND a.deleted_at IS NULL`

const cardColumns = `a.id, a.username, a.full_name, a.avatar_url`

// CardOf returns the card of the account with a username, or account.ErrNotFound when there is none that others may see.
func (s *Store) CardOf(ctx context.Context, username string) (account.Card, error) {
	var c account.Card
	err := s.db.NewRaw(`SELECT `+cardColumns+` FROM accounts a WHERE a.username = ? AND `+accountShown, username).
		Scan(ctx, &c.ID, &c.Username, &c.Name, &c.AvatarURL)
	return c, translate(err)
}

// minTrigram is the shortest run of letters that the index of words can look for anywhere in a text.
const minTrigram = 3

// candidates bounds what is ranked of those that hold a text somewhere, of usernames and then of names: a text that very many hold
// tells none of them apart.
const candidates = 500

// SearchCards returns the accounts whose username or name holds text, whatever its case: the exact username first, then
// usernames and names that begin with it, then the others by likeness; at most account.MaxFound. A text with two letters or
// digits in a row is looked for at the beginning of words only, and one with fewer at the beginning of the whole: every text
// finds its way by an index.
func (s *Store) SearchCards(ctx context.Context, text string) ([]account.Card, error) {
	query, args := searchQuery(text)
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, translate(err)
	}
	defer func() { _ = rows.Close() }()
	var found []account.Card
	for rows.Next() {
		var c account.Card
		if err := rows.Scan(&c.ID, &c.Username, &c.Name, &c.AvatarURL); err != nil {
			return nil, err
		}
		found = append(found, c)
	}
	return found, translate(rows.Err())
}

// literal takes its meaning from every character that LIKE gives one.
var literal = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

func searchQuery(text string) (query string, args []any) {
	inUsername, inName := `false`, `false`
	switch longest := longestWord(text); {
	case longest >= minTrigram:
		inUsername, inName = `a.username LIKE lower(?2)`, `lower(a.full_name) LIKE lower(?2)`
	case longest == minTrigram-1:
		inUsername, inName = `(a.username LIKE lower(?3) OR a.username LIKE lower(?4))`, `lower(a.full_name) LIKE lower(?5)`
	}
	pattern := literal.Replace(text)
	// The texts that hold it are planned as if all were wanted, and fetched until there are enough: planned for a few, the
	// whole table would be read when there are none. An index is not asked for more when those found before are enough.
	query = `
		WITH beginning AS MATERIALIZED (
			(SELECT 0 AS rank, ` + cardColumns + ` FROM accounts a WHERE a.username = lower(?0) AND ` + accountShown + `)
			UNION ALL
			(SELECT 1, ` + cardColumns + ` FROM accounts a WHERE a.username COLLATE "C" LIKE lower(?1) AND ` + accountShown + `
				ORDER BY a.username COLLATE "C" LIMIT ?6)
			UNION ALL
			(SELECT 2, ` + cardColumns + ` FROM accounts a WHERE lower(a.full_name) COLLATE "C" LIKE lower(?1) AND ` + accountShown + `
				ORDER BY lower(a.full_name) COLLATE "C" LIMIT ?6)),
		usernames AS MATERIALIZED (SELECT ` + cardColumns + ` FROM accounts a
			WHERE (SELECT count(DISTINCT id) FROM beginning) < ?6 AND ` + inUsername + ` AND ` + accountShown + `),
		names AS MATERIALIZED (SELECT ` + cardColumns + ` FROM accounts a
			WHERE (SELECT count(DISTINCT id) FROM beginning) < ?6 AND (SELECT count(*) FROM (SELECT FROM usernames LIMIT ?7) AS enough) < ?7
				AND ` + inName + ` AND ` + accountShown + `),
		matches AS (
			SELECT * FROM beginning UNION ALL (SELECT 3, * FROM usernames LIMIT ?7) UNION ALL (SELECT 3, * FROM names LIMIT ?7)),
		ranked AS (SELECT DISTINCT ON (id) * FROM matches ORDER BY id, rank)
		SELECT ` + cardColumns + ` FROM ranked a
		ORDER BY a.rank, similarity(a.username, lower(?0)) DESC, a.username COLLATE "C" LIMIT ?6`
	return query, []any{
		text, pattern + "%", "%" + pattern + "%", `%\_` + pattern + "%", "%." + pattern + "%", "% " + pattern + "%",
		account.MaxFound, candidates,
	}
}

func longestWord(text string) int {
	longest, run := 0, 0
	for _, r := range text {
		run++
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest
}
