package djangodump

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgeauth/caddy-edgeauth/records"
)

const token = "9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b"

func read(t *testing.T, text string, o Options) *Dump {
	t.Helper()
	d, err := Read(strings.NewReader(text), o)
	require.NoError(t, err)
	return d
}

var flags = Options{StaffGroup: "staff", SuperuserGroup: "superuser"}

func TestUserOfADump(t *testing.T) {
	t.Parallel()
	d := read(t, `[
		{"model":"authtoken.token","pk":"`+token+`","fields":{"user":7,"created":"2020-01-02T03:04:05.678Z"}},
		{"model":"auth.group","pk":1,"fields":{"name":"editors","permissions":[1,2]}},
		{"model":"auth.user","pk":7,"fields":{"username":"alice","password":"pbkdf2_sha256$1000$salt$pFfCQHJ6bZflcEBY+0C9jrnjHSdkTSs1SJDaki2hWwI=",
			"email":"alice@example.com","first_name":"Alice","last_name":"Liddell","is_active":true,"is_staff":true,"is_superuser":true,"groups":[1],"user_permissions":[]}},
		{"model":"sessions.session","pk":"x","fields":{}}
	]`, flags)
	assert.Empty(t, d.Refused)
	assert.Equal(t, []records.ImportedUser{{
		ID: "alice", Active: true, Name: "Alice Liddell", Email: "alice@example.com", Groups: []string{"editors", "staff", "superuser"}, PK: "7",
		Password: "pbkdf2_sha256$1000$salt$pFfCQHJ6bZflcEBY+0C9jrnjHSdkTSs1SJDaki2hWwI=",
	}}, d.Users)
	digest, err := records.TokenDigest(token)
	require.NoError(t, err)
	assert.Equal(t, []records.ImportedToken{{Digest: digest, User: "alice", Created: time.Date(2020, 1, 2, 3, 4, 5, 678e6, time.UTC)}}, d.Tokens)
}

func TestUserModelOfOnesOwn(t *testing.T) {
	t.Parallel()
	const dump = `[{"model":"accounts.account","pk":"6f9619ff-8b86-d011-b42d-00c04fc964ff","fields":{"mail":"a@example.com","password":"!x","name":"A","is_active":false}},
		{"model":"authtoken.token","pk":"` + token + `","fields":{"user":"6f9619ff-8b86-d011-b42d-00c04fc964ff"}}]`
	for _, model := range []string{"", "accounts.Account"} {
		d := read(t, dump, Options{UserModel: model, UsernameField: "mail"})
		require.Len(t, d.Users, 1)
		assert.Equal(t, records.ImportedUser{ID: "a@example.com", Name: "A", Groups: []string{}, PK: "6f9619ff-8b86-d011-b42d-00c04fc964ff"}, d.Users[0])
		assert.Len(t, d.Tokens, 1)
	}
	_, err := Read(strings.NewReader(dump), Options{UserModel: "auth.User"})
	require.ErrorContains(t, err, "accounts.account, authtoken.token")
	_, err = Read(strings.NewReader(`[{"model":"a.b","fields":{}}]`), Options{})
	require.ErrorContains(t, err, "--user-model")
}

func TestWhatCannotBeTakenIsListed(t *testing.T) {
	t.Parallel()
	d := read(t, `[
		{"model":"auth.user","pk":1,"fields":{"username":"12345","password":"!"}},
		{"model":"auth.user","pk":2,"fields":{"password":"!"}},
		{"model":"auth.user","pk":3,"fields":{"username":"old","password":"md5$a$b","groups":[9]}},
		{"model":"auth.user","pk":4,"fields":{"username":"plain","password":"hunter2hunter2"}},
		{"model":"authtoken.token","pk":"`+token+`","fields":{"user":1}},
		{"model":"authtoken.token","pk":"short","fields":{"user":3}}
	]`, flags)
	require.Len(t, d.Users, 2)
	assert.Empty(t, d.Users[0].Password)
	assert.Empty(t, d.Users[1].Password)
	assert.Empty(t, d.Tokens)
	var all strings.Builder
	for _, refusal := range d.Refused {
		all.WriteString(refusal.What + ": " + refusal.Why + "\n")
	}
	for _, want := range []string{
		"user '12345': login name '12345' looks like", "user with the key 2: it has no text in the field username",
		"user 'old', one group: group 9 is not in the dump", "user 'old', the password: a hash by md5", "user 'plain', the password: a hash by an unknown algorithm",
		"token of the user 1: that user is not in the dump", "token of user 'old': it is no token of 20",
	} {
		assert.Contains(t, all.String(), want)
	}
	assert.NotContains(t, all.String(), token)
	assert.NotContains(t, all.String(), "hunter2")
}

// Members of a group that happens to be called staff are not is_staff.
func TestGroupCalledLikeAFlagGivesNobodyTheFlag(t *testing.T) {
	t.Parallel()
	const users = `{"model":"auth.user","pk":1,"fields":{"username":"a","password":"!","groups":[["staff"]]}}`
	_, err := Read(strings.NewReader(`[{"model":"auth.group","pk":1,"fields":{"name":"staff"}},`+users+`]`), flags)
	require.ErrorContains(t, err, "give that another name with --staff-group")
	d := read(t, `[{"model":"auth.group","pk":1,"fields":{"name":"staff"}},`+users+`]`, Options{StaffGroup: "django-staff"})
	assert.Equal(t, []string{"staff"}, d.Users[0].Groups)
	d = read(t, `[`+users+`]`, flags)
	assert.Empty(t, d.Users[0].Groups, "nor where the group itself is not in the dump")
	assert.Len(t, d.Refused, 1)
}

func TestWhatIsNoDump(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty": "", "blank": " \n", "text": "hello", "a number": "7", "an object": `{"a":1}`, "no fields": `[{"model":"auth.user"}]`, "SQL": "INSERT INTO auth_user",
	} {
		_, err := Read(strings.NewReader(text), Options{})
		require.ErrorIs(t, err, ErrNoDump, name)
	}
	_, err := Read(strings.NewReader(`[{"model":"auth.user","pk":1,"fields":{}}`), Options{})
	require.ErrorContains(t, err, "was it cut?")
}

func FuzzRead(f *testing.F) {
	f.Add(`[{"model":"auth.user","pk":1,"fields":{"username":"a","password":"!","groups":[["staff"],1,null]}},{"model":"authtoken.token","pk":"` + token + `","fields":{"user":["a"]}}]`)
	f.Add(`{"model":"auth.group","pk":1,"fields":{"name":"staff"}}`)
	f.Add(`[`)
	f.Fuzz(func(t *testing.T, text string) {
		d, err := Read(strings.NewReader(text), flags)
		if err != nil {
			return
		}
		users := make(map[string]bool)
		for _, user := range d.Users {
			require.NoError(t, records.CheckLoginName(user.ID))
			users[user.ID] = true
		}
		for _, token := range d.Tokens {
			require.True(t, users[token.User], "a token of nobody")
			require.Len(t, token.Digest, 64)
		}
	})
}
