// Package authenticators is the contract between policies and the kinds of
// credential. Each kind has a folder of its own and is a Caddy guest module
// in the namespace edge_auth.authenticators.
//
// There are four outcomes, and they can't be confused: accepted is an
// identity; absent is ErrNoCredential; rejected is a *RejectedError; every
// other error is unavailable. So a case that nobody thought of ends as 503,
// never as through and never as a logout.
package authenticators

import (
	"context"
	"errors"
	"net/http"

	"github.com/edgeauth/caddy-edgeauth/identity"
)

// Namespace is where authenticators register as Caddy modules.
const Namespace = "edge_auth.authenticators"

// ErrNoCredential is the outcome "absent": the request carries nothing that
// this authenticator reads.
var ErrNoCredential = errors.New("no credential")

// Authenticator finds one kind of credential and says whose it is. It must be
// safe for concurrent use.
type Authenticator interface {
	// Find returns this authenticator's credential in r. ErrNoCredential: there
	// is none. *RejectedError: there is one that can't be right, such as one that
	// is malformed or sent twice. It does no I/O.
	Find(r *http.Request) (Credential, error)

	// Verify says whose credential it is. *RejectedError: wrong, expired or
	// revoked. ErrNoCredential: a cookie that names nothing any more, which
	// browsers send unasked. Any other error: it could not find out.
	// It never returns an identity with an empty ID.
	Verify(ctx context.Context, c Credential) (*identity.Identity, error)
}

// Lasting is an authenticator whose findings may be kept: what Verify says rests on
// the config, on the credential's value and place, on what it reads through its context from
// the host's store or Foreign, and on the identity's Basis; on nothing else.
type Lasting interface {
	// Holds reports whether a finding's Basis still is one. It is asked for each
	// request, so it must be quick.
	Holds(basis uint64) bool
}

// Challenger is an authenticator that has a scheme to ask for.
type Challenger interface {
	// Challenge is the value of WWW-Authenticate (RFC 9110, section 11.6.1).
	Challenge() string
}

// CookieGuard is an authenticator whose credential may be a cookie, which a
// browser sends along with any site's requests.
type CookieGuard interface {
	// CheckOrigin returns a *ForbiddenError for a request that another site may
	// have made (cross-site request forgery). It is asked only when the
	// credential that was used stood in a cookie.
	CheckOrigin(r *http.Request) error
}

// Describer is an authenticator that says of itself what load-time warnings
// need to know. It is also asked, while a config is checked, before it is
// provisioned.
type Describer interface {
	Describe() Description
}

// Description is what an authenticator says of itself.
type Description struct {
	// Own says that its user ids are login names of ours, and not those of
	// another application, which may call somebody else so.
	Own bool

	// IDPrefix is what it puts before each id.
	IDPrefix string

	// Header is the one of its own that carries the credential, which Caddy's
	// logs would show; empty: none, or Authorization.
	Header string

	// Cookie is the one of its own that may carry the credential; empty: none, or
	// one of the application behind.
	Cookie string

	// Query is the query parameter that carries the credential; empty: none.
	Query string

	// Lacks are the kinds of requirement (amr, claim, max_age, scope) that none of its
	// credentials meets, since they say nothing of that.
	Lacks []string

	// IDClaim is the claim that names a credential in revocations; empty: it asks
	// for none.
	IDClaim string
}

// Place is where in a request a credential stood.
type Place int

// The places.
const (
	InHeader Place = iota
	InCookie
	InQuery
)

// Credential is what a request carries to prove who sent it.
type Credential struct {
	In    Place
	Name  string // of the header, cookie or query parameter
	Value Secret

	// Foreign says that the credential belongs to the application behind us,
	// which needs it too: it is forwarded.
	Foreign bool
}

// RejectedError is the outcome "rejected": a credential that is wrong. It
// wraps nothing, so that its cause can't turn it into another outcome.
type RejectedError struct {
	Code   string // for programs: token_not_valid
	Detail string // for people; sent to the client

	// Messages says more, as SimpleJWT does; sent to the client.
	Messages []Message

	// Challenge takes the place of the authenticator's own, where the scheme can
	// say what was wrong (RFC 6750, section 3.1). Empty: no change.
	Challenge string

	// Cause is for the log and holds no credential.
	Cause error
}

// Message is one entry of a RejectedError's Messages.
type Message struct {
	TokenClass string `json:"token_class"`
	TokenType  string `json:"token_type"`
	Message    string `json:"message"`
}

func (e *RejectedError) Error() string {
	if e.Cause != nil {
		return e.Code + ": " + e.Cause.Error()
	}
	return e.Code + ": " + e.Detail
}

// ForbiddenError says that the caller is known and may not do this.
type ForbiddenError struct {
	Code   string
	Detail string // sent to the client

	// Challenge is the WWW-Authenticate that says what would do (RFC 6750, section
	// 3.1; RFC 9470, section 3). Empty: none.
	Challenge string

	Cause error // for the log
}

func (e *ForbiddenError) Error() string {
	if e.Cause != nil {
		return e.Code + ": " + e.Cause.Error()
	}
	return e.Code + ": " + e.Detail
}

// The codes and sentences that clients of Django REST framework and SimpleJWT
// know.
const (
	CodeNotValid     = "token_not_valid"
	CodeAuthFailed   = "authentication_failed"
	CodeUserInactive = "user_inactive"
	CodeBadHeader    = "bad_authorization_header"
	CodeDenied       = "permission_denied"
	CodeCSRF         = "csrf_failed"
)
