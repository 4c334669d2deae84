package account

import "time"

// IdempotencyLife is how long an Idempotency-Key is known: a request that comes with it later is another one.
const IdempotencyLife = 48 * time.Hour
