// Package djangodump reads what Django's dumpdata writes: users, their groups, and
// the tokens of Django REST framework. Tokens leave it as digests only.
package djangodump

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/edgeauth/caddy-edgeauth/passwords"
	"github.com/edgeauth/caddy-edgeauth/records"
)

// Options say how a dump is read.
type Options struct {
	// UserModel is AUTH_USER_MODEL. Default: auth.User, or, where there are none, the
	// one model in the dump whose objects have a password.
	UserModel string

	// UsernameField is USERNAME_FIELD, which becomes the login name. Default: username.
	UsernameField string

	// StaffGroup and SuperuserGroup are the groups of those who are is_staff and
	// is_superuser. Empty: the flag is left out.
	StaffGroup, SuperuserGroup string
}

// Dump is what can be taken over of a dump.
type Dump struct {
	Users  []records.ImportedUser
	Tokens []records.ImportedToken

	// Refused is what can't, and why.
	Refused []records.Refusal
}

// object is one of a dump's.
type object struct {
	Model  string                     `json:"model"`
	PK     json.RawMessage            `json:"pk"`
	Fields map[string]json.RawMessage `json:"fields"`
}

const (
	groupModel = "auth.group"
	tokenModel = "authtoken.token"
)

// ErrNoDump says that a file is nothing that dumpdata writes.
var ErrNoDump = errors.New("not what dumpdata writes; make it with: python manage.py dumpdata auth.User auth.Group authtoken.Token > FILE")

// Read reads a dump in the formats json and jsonl.
func Read(r io.Reader, o Options) (*Dump, error) {
	objects, err := readObjects(r)
	if err != nil {
		return nil, err
	}
	byModel := make(map[string][]object)
	for _, object := range objects {
		model := strings.ToLower(object.Model)
		byModel[model] = append(byModel[model], object)
	}
	model, err := userModel(byModel, o.UserModel)
	if err != nil {
		return nil, err
	}
	groups, err := groupsOf(byModel[groupModel], o)
	if err != nil {
		return nil, err
	}
	d := new(Dump)
	if o.UsernameField == "" {
		o.UsernameField = "username"
	}
	names := d.addUsers(byModel[model], groups, o)
	d.addTokens(byModel[tokenModel], names)
	return d, nil
}

func readObjects(r io.Reader) ([]object, error) {
	in := bufio.NewReader(r)
	first, err := firstByte(in)
	if err != nil {
		return nil, ErrNoDump
	}
	decoder := json.NewDecoder(in)
	list := first == '['
	if list {
		if _, err := decoder.Token(); err != nil {
			return nil, err
		}
	}
	var objects []object
	for decoder.More() {
		var next object
		if err := decoder.Decode(&next); err != nil {
			return nil, fmt.Errorf("object %d: %w (%w)", len(objects)+1, ErrNoDump, err)
		}
		if next.Model == "" || next.Fields == nil {
			return nil, fmt.Errorf("object %d has no model or no fields: %w", len(objects)+1, ErrNoDump)
		}
		objects = append(objects, next)
	}
	if list {
		if _, err := decoder.Token(); err != nil {
			return nil, fmt.Errorf("the file ends after %d objects: was it cut? (%w)", len(objects), err)
		}
	}
	return objects, nil
}

// firstByte returns the first byte that is no white space, and leaves it there.
func firstByte(in *bufio.Reader) (byte, error) {
	for {
		next, err := in.ReadByte()
		if err != nil {
			return 0, err
		}
		if !bytes.ContainsRune([]byte(" \t\r\n"), rune(next)) {
			return next, in.UnreadByte()
		}
	}
}

func userModel(byModel map[string][]object, named string) (string, error) {
	if named != "" {
		if named = strings.ToLower(named); len(byModel[named]) == 0 {
			return "", fmt.Errorf("no objects of %s in the dump, which has: %s", named, listOf(byModel))
		}
		return named, nil
	}
	if len(byModel["auth.user"]) > 0 {
		return "auth.user", nil
	}
	var found []string
	for model, objects := range byModel {
		if _, ok := objects[0].Fields["password"]; ok {
			found = append(found, model)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	return "", fmt.Errorf("which model are the users of? Say it with --user-model; the dump has: %s", listOf(byModel))
}

func listOf(byModel map[string][]object) string {
	models := make([]string, 0, len(byModel))
	for model := range byModel {
		models = append(models, model)
	}
	slices.Sort(models)
	return strings.Join(models, ", ")
}

// groupsOf returns the groups' names by their keys. A group that is called as a flag
// is to be would give its members what only staff have.
func groupsOf(objects []object, o Options) (map[string]string, error) {
	groups := make(map[string]string)
	for _, object := range objects {
		name := object.text("name")
		if name == "" {
			continue
		}
		if name == o.StaffGroup || name == o.SuperuserGroup {
			return nil, fmt.Errorf("the dump has a group called '%s', which is_staff or is_superuser was to become: give that another name with --staff-group or --superuser-group", name)
		}
		groups[keyText(object.PK)] = name
	}
	return groups, nil
}

// addUsers returns the login names of those who can be taken over, by their keys.
func (d *Dump) addUsers(objects []object, groups map[string]string, o Options) map[string]string {
	names := make(map[string]string, len(objects))
	for _, object := range objects {
		name := object.text(o.UsernameField)
		what := "user '" + name + "'"
		if name == "" {
			d.refuse("user with the key "+keyText(object.PK), "it has no text in the field "+o.UsernameField)
			continue
		}
		if err := records.CheckLoginName(name); err != nil {
			d.refuse(what, err.Error())
			continue
		}
		user := records.ImportedUser{
			ID: name, PK: keyText(object.PK), Email: object.text("email"), Active: object.flag("is_active", true),
			Name: strings.TrimSpace(object.text("first_name") + " " + object.text("last_name")),
		}
		if user.Name == "" {
			user.Name = object.text("name")
		}
		user.Groups = d.groupsOf(what, object, groups, o)
		user.Password = d.password(what, object.text("password"))
		d.Users = append(d.Users, user)
		if user.PK != "" {
			names[user.PK] = name
		}
	}
	return names
}

func (d *Dump) groupsOf(what string, user object, groups map[string]string, o Options) []string {
	list := []string{}
	var members []json.RawMessage
	_ = json.Unmarshal(user.Fields["groups"], &members) // none where it is no list
	for _, member := range members {
		var natural []string
		name, ok := groups[keyText(member)]
		if !ok && json.Unmarshal(member, &natural) == nil && len(natural) == 1 {
			name, ok = natural[0], natural[0] != o.StaffGroup && natural[0] != o.SuperuserGroup
		}
		if !ok {
			d.refuse(what+", one group", "group "+keyText(member)+" is not in the dump: add auth.Group to dumpdata")
			continue
		}
		list = append(list, name)
	}
	if o.StaffGroup != "" && user.flag("is_staff", false) {
		list = append(list, o.StaffGroup)
	}
	if o.SuperuserGroup != "" && user.flag("is_superuser", false) {
		list = append(list, o.SuperuserGroup)
	}
	return list
}

// password returns a hash that can be checked; empty: nobody logs in with a password.
func (d *Dump) password(what, hash string) string {
	if hash == "" || strings.HasPrefix(hash, "!") { // unusable, and so it stays
		return ""
	}
	if err := passwords.Check(hash); err != nil {
		kind, _, _ := strings.Cut(hash, "$")
		if kind == hash || len(kind) > 30 {
			kind = "an unknown algorithm"
		}
		d.refuse(what+", the password", fmt.Sprintf("a hash by %s can't be checked here; give the user a new one with: caddy edge-auth user password %s", kind, strings.TrimPrefix(what, "user ")))
		return ""
	}
	return hash
}

func (d *Dump) addTokens(objects []object, names map[string]string) {
	for _, object := range objects {
		owner := keyText(object.Fields["user"])
		user, ok := names[owner]
		var natural []string
		if !ok && json.Unmarshal(object.Fields["user"], &natural) == nil && len(natural) == 1 {
			owner = natural[0]
			ok = slices.ContainsFunc(d.Users, func(u records.ImportedUser) bool { return u.ID == owner })
			user = owner
		}
		if !ok {
			d.refuse("token of the user "+owner, "that user is not in the dump, or could not be taken")
			continue
		}
		key := keyText(object.PK)
		if key == "" {
			key = object.text("key")
		}
		digest, err := records.TokenDigest(key)
		if err != nil {
			d.refuse("token of user '"+user+"'", "it is no token of 20 to 512 printable characters")
			continue
		}
		created, _ := time.Parse(time.RFC3339, object.text("created")) // unknown where it is no time
		d.Tokens = append(d.Tokens, records.ImportedToken{Digest: digest, User: user, Created: created})
	}
}

func (d *Dump) refuse(what, why string) {
	d.Refused = append(d.Refused, records.Refusal{What: what, Why: why})
}

func (o object) text(field string) string {
	var text string
	_ = json.Unmarshal(o.Fields[field], &text) // empty where it is no text
	return text
}

func (o object) flag(field string, byDefault bool) bool {
	if _, ok := o.Fields[field]; !ok {
		return byDefault
	}
	var flag bool
	_ = json.Unmarshal(o.Fields[field], &flag) // false where it is no flag
	return flag
}

// keyText is a primary key as text: that of a number or of a text; else its JSON.
func keyText(key json.RawMessage) string {
	var text string
	if json.Unmarshal(key, &text) == nil {
		return text
	}
	return string(bytes.TrimSpace(key))
}
