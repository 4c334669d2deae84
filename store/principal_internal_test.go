package store

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The texts are as the comment of identity shows them.
func TestIdentity_Texts(t *testing.T) {
	t.Parallel()
	got := identityOf("uuid", "s.id", "s", " FROM sessions s JOIN accounts a ON a.id = s.account_id", " AND lives", false)
	text := func(i int) string {
		return strings.Join(strings.Fields(strings.ReplaceAll(got.texts[i], accountColumns, "a")), " ")
	}
	require.Equal(t, []int{1, 2, 4, 8, 16}, got.sizes)
	require.Equal(t, "SELECT 0, s, a FROM sessions s JOIN accounts a ON a.id = s.account_id WHERE s.id = $1 AND lives", text(0))
	require.Equal(t, "SELECT asked.n, found.* FROM (VALUES (0, $1::uuid), (1, $2::uuid)) AS asked (n, key) "+
		"CROSS JOIN LATERAL (SELECT s, a FROM sessions s JOIN accounts a ON a.id = s.account_id "+
		"WHERE s.id = asked.key AND lives LIMIT 1) AS found", text(1))
}
