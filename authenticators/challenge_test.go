package authenticators

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestProblemLeavesOutWhatNoDescriptionMayHold(t *testing.T) {
	t.Parallel()
	assert.Equal(t, `Bearer realm="api", error="invalid_token", error_description="a b"`,
		Problem(`Bearer realm="api"`, "invalid_token", "a \"b\\\r\n\u00e9"))
	assert.Equal(t, `Bearer, error="invalid_token"`, Problem("Bearer", "invalid_token", "\n"))
	assert.Empty(t, Problem("", "invalid_token", "x"))
	assert.True(t, IsBearer(`bearer realm="api"`))
	assert.False(t, IsBearer("Token"))
}
