// Package panics makes errors of panics. What a library panics with may hold
// what it was given, a credential among it, so no text of its own is passed on.
package panics

import (
	"errors"
	"fmt"
	"runtime"
)

// Error says what panicked: in full where the Go runtime says it, which speaks of
// types, indices and addresses only; else by its type, and the stack shows the
// place.
func Error(cause any) error {
	var fault runtime.Error
	if err, ok := cause.(error); ok && errors.As(err, &fault) {
		return fmt.Errorf("panic: %w", fault)
	}
	return fmt.Errorf("panic with a value of type %T", cause)
}
