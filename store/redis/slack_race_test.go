//go:build race

package redis

// slack is what the race detector leaves of the bound, many times slower as it
// makes 500 callers on a busy machine: nobody waits for a second timeout. What
// is promised, 50 ms, is held to without it.
const slack = hungTimeout
