package records

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/edgeauth/caddy-edgeauth/identity"
)

// members are those of a user record, and what each must be.
var members = map[string]string{
	"active":     "true or false",
	"name":       "a text",
	"email":      "a text",
	"groups":     "a list of texts",
	"not_before": "seconds since 1970",
	"auth_hash":  "a text",
	"pk":         "a text",
}

// MarshalJSON writes not_before as seconds since 1970.
func (u User) MarshalJSON() ([]byte, error) {
	type plain User
	record := struct {
		plain
		NotBefore *float64 `json:"not_before,omitempty"`
	}{plain: plain(u)}
	if !u.NotBefore.IsZero() {
		seconds := float64(u.NotBefore.UnixMilli()) / 1000
		record.NotBefore = &seconds
	}
	return json.Marshal(record)
}

// UnmarshalJSON reads what applications in any language write: leniently as to
// members that it doesn't know, and null is as good as nothing; strictly as to
// names and types, since a misread "active" would let somebody in.
func (u *User) UnmarshalJSON(data []byte) error {
	object, err := identity.ParseClaims(data)
	if err != nil {
		return err
	}
	if _, later := object["v"]; later { // as in our other records, see form
		return errors.New("the form is of a later release")
	}
	var user User
	for name, wanted := range members {
		if value := object[name]; value != nil && !user.set(name, value) {
			return fmt.Errorf("%s: %s is needed", name, wanted)
		}
	}
	*u = user
	return nil
}

// set takes over a member; false if it is of the wrong type.
func (u *User) set(name string, value any) (ok bool) {
	switch name {
	case "active":
		var active bool
		active, ok = value.(bool)
		u.Active = &active
	case "name":
		u.Name, ok = value.(string)
	case "email":
		u.Email, ok = value.(string)
	case "groups":
		u.Groups, ok = texts(value)
	case "not_before":
		u.NotBefore, ok = timeOf(value)
	case "auth_hash":
		u.AuthHash, ok = value.(string)
	case "pk":
		u.PK, ok = value.(string)
	}
	return ok
}

// texts reads a list of texts; none in it gives a list that is not nil.
func texts(value any) ([]string, bool) {
	list, ok := value.([]any)
	if !ok {
		return nil, false
	}
	read := make([]string, len(list))
	for i, item := range list {
		if read[i], ok = item.(string); !ok {
			return nil, false
		}
	}
	return read, true
}

// maxSeconds is in the year 5138. What is beyond was meant as milliseconds.
const maxSeconds = 1e11

// timeOf reads seconds since 1970.
func timeOf(value any) (time.Time, bool) {
	number, ok := value.(json.Number)
	if !ok {
		return time.Time{}, false
	}
	seconds, err := number.Float64()
	if err != nil || math.Abs(seconds) > maxSeconds {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(math.Round(seconds * 1000))), true
}
