//go:build !race

package redis

import "time"

// slack is how much longer than its timeout a call may take.
const slack = 50 * time.Millisecond
