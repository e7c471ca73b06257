package panics

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

func caught(run func()) (err error) {
	defer func() { err = Error(recover()) }()
	run()
	return nil
}

func TestCauseOfAPanicIsToldWithoutWhatItHolds(t *testing.T) {
	t.Parallel()
	const secret = "correct horse battery"
	var none []int
	for name, c := range map[string]struct {
		run  func()
		want string
	}{
		"text":            {func() { panic("can't read " + secret) }, "panic with a value of type string"},
		"error":           {func() { panic(errors.New(secret)) }, "panic with a value of type *errors.errorString"},
		"index":           {func() { _ = none[len(secret)] }, "panic: runtime error: index out of range [21] with length 0"},
		"type":            {func() { _ = any(secret).(int) }, "panic: interface conversion: interface {} is string, not int"},
		"wrapped by them": {func() { panic(fmt.Errorf("%s: %w", secret, caughtIndex())) }, "panic: runtime error: index out of range [0] with length 0"},
		"map key":         {func() { _ = map[any]int{}[struct{ f any }{func() {}}] }, "panic: hash of unhashable type: func()"},
	} {
		assert.Equal(t, c.want, caught(c.run).Error(), name)
	}
}

// caughtIndex is what reading beyond a list panics with.
func caughtIndex() (err error) {
	defer func() { err, _ = recover().(error) }()
	var none []int
	i := len(none)
	_ = none[i]
	return nil
}
