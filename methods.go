package edgeauth

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/edgeauth/caddy-edgeauth/identity"
)

// allowedMethods is what the answer to one that isn't allowed says (RFC 9110, section
// 15.5.6): the others of the registry. What the application allows is its own affair.
const allowedMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// methodError says that a request has a method that is nothing for an application.
type methodError struct{ method string }

func (e *methodError) Error() string { return fmt.Sprintf("Method %q not allowed.", e.method) }

// checkMethod refuses TRACE, whose answer repeats to the client what only the upstream
// may see, such as a signed assertion; and CONNECT, after which the connection to the
// upstream may be a tunnel, and is given to the next request all the same. A WebSocket
// of HTTP/2 or HTTP/3 is a GET to the upstream.
func checkMethod(r *http.Request) error {
	switch method := identity.UpstreamMethod(r); strings.ToUpper(method) {
	case http.MethodTrace, http.MethodConnect:
		return &methodError{strings.ToUpper(method)}
	}
	return nil
}
