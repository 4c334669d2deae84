// This file lets argon2.go declare functions without bodies, which the linker finds elsewhere.
