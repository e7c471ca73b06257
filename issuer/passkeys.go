package issuer

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/edgeauth/caddy-edgeauth/internal/audit"
	"github.com/edgeauth/caddy-edgeauth/records"
	"github.com/edgeauth/caddy-edgeauth/store"
)

const (
	ceremonyType     = "ceremony" // the token_type of what a browser holds between two steps
	ceremonyLifetime = 5 * time.Minute
	maxPasskeys      = 20
)

// byPasskey is what a login by passkey proved (RFC 8176): a key, and that its
// user unlocked it.
var byPasskey = []string{"pop", "user", "mfa"}

// passkeyUser is a user as the library knows them.
type passkeyUser struct {
	records.Passkeys

	name        string
	credentials []webauthn.Credential
}

func (u *passkeyUser) WebAuthnID() []byte                         { return u.Handle }
func (u *passkeyUser) WebAuthnName() string                       { return u.User }
func (u *passkeyUser) WebAuthnDisplayName() string                { return u.name }
func (u *passkeyUser) WebAuthnCredentials() []webauthn.Credential { return u.credentials }

func newPasskeyUser(found records.Passkeys, name string) (*passkeyUser, error) {
	u := &passkeyUser{Passkeys: found, name: name, credentials: make([]webauthn.Credential, len(found.Keys))}
	if name == "" {
		u.name = found.User
	}
	for i, key := range found.Keys {
		if err := json.Unmarshal(key.Credential, &u.credentials[i]); err != nil {
			return nil, fmt.Errorf("reading a passkey: %w", err)
		}
	}
	return u, nil
}

// relyingParty is what passkeys are bound to: the configured domain. The page may
// be of it, or of a host below it.
func (i *Issuer) relyingParty(r *http.Request) (*webauthn.WebAuthn, error) {
	domain := i.Session.Passkeys
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if host != domain && !strings.HasSuffix(host, "."+domain) {
		return nil, invalid(coded("Passkeys are for "+domain+".", "passkey_domain"))
	}
	origins := []string{"https://" + r.Host}
	if host == "localhost" { // which browsers trust without TLS
		origins = append(origins, "http://"+r.Host)
	}
	name := i.Session.Pages.Title
	if name == "" {
		name = domain
	}
	return webauthn.New(&webauthn.Config{RPID: domain, RPDisplayName: name, RPOrigins: origins})
}

// ceremonyState is what is kept between two steps, in a token that the browser
// holds: so nobody can fill the store by beginning.
type ceremonyState struct {
	TokenType string          `json:"token_type"`
	Expires   int64           `json:"exp"`
	ID        string          `json:"jti"`
	User      string          `json:"sub"` // who registers a passkey; a dash where somebody logs in
	State     json.RawMessage `json:"state"`
}

const nobody = "-"

// begin answers with what the browser needs for a ceremony.
func (i *Issuer) begin(w http.ResponseWriter, r *http.Request, user string, options any, state *webauthn.SessionData) error {
	if err := i.host.EnsureSigningKeys(r.Context()); err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	data, err := json.Marshal(state)
	if err != nil {
		return err
	}
	claims, err := json.Marshal(ceremonyState{ceremonyType, i.now().Add(ceremonyLifetime).Unix(), newJTI(), user, data})
	if err != nil {
		return err
	}
	token, err := i.ring.Sign(claims, "JWT")
	if err != nil {
		return err
	}
	return write(w, r, http.StatusOK, struct {
		Ceremony string `json:"ceremony"`
		Options  any    `json:"options"`
	}{token, options})
}

// finish reads the second step of a ceremony: its state, and what the browser's
// credential says. It counts once.
func (i *Issuer) finish(r *http.Request, user string) (webauthn.SessionData, *form, []byte, error) {
	var state webauthn.SessionData
	f, err := readForm(r)
	if err != nil {
		return state, nil, nil, err
	}
	token := f.text("ceremony", true)
	credential, given := f.values["credential"].(map[string]any)
	if !given {
		f.complain("credential", "This field is required.")
	}
	if err := f.check(); err != nil {
		return state, nil, nil, err
	}
	claims, err := i.verifier.Claims(r.Context(), token)
	if err == nil {
		err = i.verifier.CheckType(claims, ceremonyType)
	}
	if err != nil {
		return state, nil, nil, err
	}
	if text(claims, "sub") != user {
		return state, nil, nil, i.verifier.Refuse("ceremony of another user", "Token is invalid")
	}
	switch err := records.UseOnce(r.Context(), i.store, "ceremony "+text(claims, "jti"), ceremonyLifetime+time.Minute); {
	case errors.Is(err, store.ErrChanged):
		return state, nil, nil, i.blacklisted("ceremony was ended before")
	case err != nil:
		return state, nil, nil, fmt.Errorf("ending ceremony: %w", err)
	}
	data, err := json.Marshal(claims["state"])
	if err == nil {
		err = json.Unmarshal(data, &state)
	}
	if err != nil {
		return state, nil, nil, err
	}
	answer, err := json.Marshal(credential)
	return state, f, answer, err
}

// errPasskey is the answer to a passkey that will not do.
func errPasskey(cause error) error {
	return unauthorized(coded("The passkey will not do.", "passkey_invalid"), cause)
}

func (i *Issuer) beginPasskeyLogin(w http.ResponseWriter, r *http.Request) error {
	rp, err := i.relyingParty(r)
	if err != nil {
		return err
	}
	options, state, err := rp.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return err
	}
	return i.begin(w, r, nobody, options, state)
}

// passkeyLogin returns who logs in by a passkey, and what else they sent.
func (i *Issuer) passkeyLogin(r *http.Request) (records.User, *form, error) {
	rp, err := i.relyingParty(r)
	if err != nil {
		return records.User{}, nil, err
	}
	state, f, data, err := i.finish(r, nobody)
	if err != nil {
		return records.User{}, nil, err
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(data)
	if err != nil {
		return records.User{}, nil, errPasskey(err)
	}
	var found *passkeyUser
	var unknown error // whether anything could be found out
	ctx := r.Context()
	_, credential, err := rp.ValidatePasskeyLogin(func(_, handle []byte) (webauthn.User, error) {
		keys, err := records.PasskeysByHandle(ctx, i.store, handle)
		if err == nil {
			found, err = newPasskeyUser(keys, "")
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			unknown = err
		}
		return found, err
	}, state, parsed)
	switch {
	case unknown != nil:
		return records.User{}, nil, fmt.Errorf("looking passkey up: %w", unknown)
	case err == nil && credential.Authenticator.CloneWarning:
		err = errors.New("the passkey's counter went back: it may have been copied")
	}
	if err != nil {
		i.audit.Write(r, audit.Event{Name: audit.LoginFailed, Reason: err})
		return records.User{}, nil, errPasskey(err)
	}
	user, err := records.GetUser(r.Context(), i.store, found.User)
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && !user.Enabled():
		err = errPasskey(records.ErrDisabled)
		i.audit.Write(r, audit.Event{Name: audit.LoginFailed, User: found.User, Reason: records.ErrDisabled})
	case err == nil:
		err = i.keepCounter(r.Context(), found.Passkeys, credential)
	}
	return user, f, err
}

// keepCounter remembers how often a passkey was used. Where another login did so
// at the same moment, that one counts.
func (i *Issuer) keepCounter(ctx context.Context, found records.Passkeys, credential *webauthn.Credential) error {
	data, err := json.Marshal(credential)
	if err != nil {
		return err
	}
	id := base64.RawURLEncoding.EncodeToString(credential.ID)
	for n := range found.Keys {
		if found.Keys[n].ID == id {
			found.Keys = slices.Clone(found.Keys)
			found.Keys[n].Credential = data
		}
	}
	if err := records.PutPasskeys(ctx, i.store, found); err != nil && !errors.Is(err, store.ErrChanged) {
		return fmt.Errorf("keeping the passkey's counter: %w", err)
	}
	return nil
}

// endPasskeyLogin logs a browser in.
func (i *Issuer) endPasskeyLogin(w http.ResponseWriter, r *http.Request) error {
	user, f, err := i.passkeyLogin(r)
	if err != nil {
		return countLogin(err)
	}
	if err := i.beginSession(w, r, user, byPasskey); err != nil {
		return countLogin(err)
	}
	i.loggedIn(r, user)
	return write(w, r, http.StatusOK, map[string]string{"next": i.safeNext(f.optional("next"))})
}

// obtainByPasskey gives a pair of tokens.
func (i *Issuer) obtainByPasskey(w http.ResponseWriter, r *http.Request) error {
	if err := i.checkSite(r); err != nil {
		return err
	}
	user, _, err := i.passkeyLogin(r)
	if err != nil {
		return countLogin(err)
	}
	i.loggedIn(r, user)
	return i.giveTokens(w, r, user, byPasskey)
}

func (i *Issuer) beginPasskey(w http.ResponseWriter, r *http.Request) error {
	return i.withUser(w, r, func(_ records.Session, user records.User) error {
		rp, err := i.relyingParty(r)
		if err != nil {
			return err
		}
		found, err := records.FindPasskeys(r.Context(), i.store, user.ID)
		if err != nil {
			return fmt.Errorf("looking passkeys up: %w", err)
		}
		owner, err := newPasskeyUser(found, user.Name)
		if err != nil {
			return err
		}
		options, state, err := rp.BeginRegistration(owner,
			webauthn.WithAuthenticatorSelection(protocol.AuthenticatorSelection{
				ResidentKey: protocol.ResidentKeyRequirementRequired, RequireResidentKey: protocol.ResidentKeyRequired(),
				UserVerification: protocol.VerificationRequired,
			}),
			webauthn.WithExclusions(webauthn.Credentials(owner.credentials).CredentialDescriptors()),
			webauthn.WithConveyancePreference(protocol.PreferNoAttestation))
		if err != nil {
			return err
		}
		return i.begin(w, r, user.ID, options, state)
	})
}

// endPasskey keeps a new passkey.
func (i *Issuer) endPasskey(w http.ResponseWriter, r *http.Request) error {
	return i.withUser(w, r, func(_ records.Session, user records.User) error {
		rp, err := i.relyingParty(r)
		if err != nil {
			return err
		}
		state, f, data, err := i.finish(r, user.ID)
		if err != nil {
			return err
		}
		found, err := records.FindPasskeys(r.Context(), i.store, user.ID)
		if err != nil {
			return fmt.Errorf("looking passkeys up: %w", err)
		}
		if !found.Kept() {
			found.Handle = state.UserID // of the first step
		}
		owner, err := newPasskeyUser(found, user.Name)
		if err != nil {
			return err
		}
		parsed, err := protocol.ParseCredentialCreationResponseBytes(data)
		if err != nil {
			return errPasskey(err)
		}
		credential, err := rp.CreateCredential(owner, state, parsed)
		if err != nil {
			return errPasskey(err)
		}
		kept, err := json.Marshal(credential)
		if err != nil {
			return err
		}
		name := strings.TrimSpace(f.optional("name"))
		if name == "" || utf8.RuneCountInString(name) > 100 || len(found.Keys) >= maxPasskeys {
			return invalid(coded("A name of at most 100 characters is needed, and there may be 20 passkeys.", "passkey_name"))
		}
		found.Keys = append(slices.Clone(found.Keys), records.Passkey{
			ID: base64.RawURLEncoding.EncodeToString(credential.ID), Name: name, Created: i.second(), Credential: kept,
		})
		if err := records.PutPasskeys(r.Context(), i.store, found); err != nil {
			return fmt.Errorf("keeping the passkey: %w", err)
		}
		i.audit.Write(r, audit.Event{Name: audit.PasskeyAdded, User: user.ID})
		return write(w, r, http.StatusOK, struct{}{})
	})
}

// removePasskey takes a user's passkey away.
func (i *Issuer) removePasskey(r *http.Request, user, id string) error {
	found, err := records.FindPasskeys(r.Context(), i.store, user)
	if err != nil {
		return err
	}
	before := len(found.Keys)
	found.Keys = slices.DeleteFunc(slices.Clone(found.Keys), func(key records.Passkey) bool { return key.ID == id })
	if len(found.Keys) == before {
		return store.ErrNotFound
	}
	if err := records.PutPasskeys(r.Context(), i.store, found); err != nil {
		return err
	}
	i.audit.Write(r, audit.Event{Name: audit.PasskeyRemoved, User: user})
	return nil
}
