package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Running the mutants takes minutes; that they still fit the code is seen at once.
func TestEveryMutantStillFitsTheCode(t *testing.T) {
	t.Chdir("../..")
	names := make(map[string]bool)
	for _, m := range mutants {
		_, err := m.overlay(t.TempDir())
		require.NoError(t, err, m.name)
		assert.NotEmpty(t, m.tests, m.name)
		assert.False(t, names[m.name], m.name)
		names[m.name] = true
	}
	assert.Len(t, mutants, 24)
}
