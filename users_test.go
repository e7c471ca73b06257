package edgeauth

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/records"
)

func TestS31S65WhoIsStillWelcome(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	login := time.Now()
	for name, c := range map[string]struct {
		user    records.User
		who     identity.Identity
		welcome bool
	}{
		"empty record":             {records.User{}, identity.Identity{}, true},
		"active":                   {records.User{Active: &yes}, identity.Identity{}, true},
		"disabled":                 {records.User{Active: &no}, identity.Identity{}, false},
		"logged in since":          {records.User{NotBefore: login.Add(-time.Hour)}, identity.Identity{AuthTime: login}, true},
		"logged in before":         {records.User{NotBefore: login.Add(time.Hour)}, identity.Identity{AuthTime: login}, false},
		"unknown login":            {records.User{NotBefore: login}, identity.Identity{}, false},
		"same password":            {records.User{AuthHash: "h"}, identity.Identity{Claims: map[string]any{djangoHash: "h"}}, true},
		"password changed":         {records.User{AuthHash: "h2"}, identity.Identity{Claims: map[string]any{djangoHash: "h"}}, false},
		"not a session of Django":  {records.User{AuthHash: "h2"}, identity.Identity{}, true},
		"record without that hash": {records.User{}, identity.Identity{Claims: map[string]any{djangoHash: "h"}}, true},
	} {
		err := stillWelcome(c.user, &c.who)
		assert.Equal(t, c.welcome, err == nil, name)
	}
}

func TestRecordCompletesTheIdentity(t *testing.T) {
	t.Parallel()
	who := identity.Identity{ID: "alice", Name: "old", Email: "a@example.com", Groups: []string{"admins"}}
	complete(&who, records.User{Name: "new", Groups: []string{}})
	require.Equal(t, identity.Identity{ID: "alice", Name: "new", Email: "a@example.com", Groups: []string{}}, who)
}
