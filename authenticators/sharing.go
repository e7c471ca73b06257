package authenticators

import (
	"errors"
	"net/http"
	"strings"
)

// SchemeSharer is an authenticator of a scheme that another one of the policy
// may read too: opaque tokens and the JWTs of several issuers all travel as
// Bearer. Headers does all of it but Fit.
type SchemeSharer interface {
	// SharedSchemes are the headers and schemes that it reads, in lower case:
	// "authorization bearer", or "x-token" where the value stands alone.
	SharedSchemes() []string

	// Fit says how well a value suits it; 0: it is of another shape. It looks at
	// the shape only, and accepts nothing.
	Fit(value Secret) int

	// ShareScheme gives it those who read a scheme, itself included. An error says
	// that they can't go together.
	ShareScheme(scheme string, sharing Sharing) error
}

// Sharing are the authenticators of a policy that read one scheme, in the
// policy's order.
type Sharing []SchemeSharer

// owner is the one that a value is for, whom it suits best. There is always
// one, so that a value that suits nobody is rejected, and never absent.
func (s Sharing) owner(value Secret) SchemeSharer {
	var owner SchemeSharer
	best := -1
	for _, sharer := range s {
		if fit := sharer.Fit(value); fit > best {
			owner, best = sharer, fit
		}
	}
	return owner
}

// Headers are the places among headers where an authenticator's credential may
// stand, in the order they are looked at. The zero value has none.
type Headers struct {
	places []headerPlace
}

type headerPlace struct {
	header, scheme string
	key            string  // of both, see SharedSchemes
	sharing        Sharing // nil: nobody else reads it
}

// Add adds a place. Without a scheme the header's whole value counts.
func (h *Headers) Add(header, scheme string) {
	key := strings.ToLower(strings.TrimSpace(header + " " + scheme))
	h.places = append(h.places, headerPlace{header: header, scheme: scheme, key: key})
}

// Find reads the credential of self, with the errors of FromHeader. A value
// that another authenticator owns is ErrNoCredential.
func (h *Headers) Find(r *http.Request, self SchemeSharer) (Credential, error) {
	for i := range h.places {
		p := &h.places[i]
		value, err := FromHeader(r, p.header, p.scheme)
		if err == nil && p.sharing != nil && p.sharing.owner(value) != self {
			return Credential{}, ErrNoCredential
		}
		if !errors.Is(err, ErrNoCredential) {
			return Credential{In: InHeader, Name: p.header, Value: value}, err
		}
	}
	return Credential{}, ErrNoCredential
}

// Sent reports whether any of the headers was sent, whatever stands in it.
func (h *Headers) Sent(r *http.Request) bool {
	for i := range h.places {
		if len(r.Header[http.CanonicalHeaderKey(h.places[i].header)]) > 0 {
			return true
		}
	}
	return false
}

// SharedSchemes is that of SchemeSharer.
func (h *Headers) SharedSchemes() []string {
	schemes := make([]string, len(h.places))
	for i := range h.places {
		schemes[i] = h.places[i].key
	}
	return schemes
}

// ShareScheme is that of SchemeSharer.
func (h *Headers) ShareScheme(scheme string, sharing Sharing) {
	for i := range h.places {
		if h.places[i].key == scheme {
			h.places[i].sharing = sharing
		}
	}
}
