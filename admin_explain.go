package edgeauth

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// asked is a request that is to be explained: one that is described, or one that was
// refused, by its id.
type asked struct {
	RequestID string `json:"request_id,omitempty"`

	Method string                `json:"method,omitempty"` // default: GET
	URL    string                `json:"url,omitempty"`
	Header map[string]textOrList `json:"headers,omitempty"`
	Body   string                `json:"body,omitempty"`
	Client string                `json:"client,omitempty"` // the address it comes from; default: 127.0.0.1
}

// textOrList is a list in JSON, or a text that stands for a list of one.
type textOrList []string

// UnmarshalJSON reads either.
func (l *textOrList) UnmarshalJSON(data []byte) error {
	var one string
	if err := json.Unmarshal(data, &one); err == nil {
		*l = textOrList{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(l))
}

// explainRequest says what becomes of a request, and why. A described one is judged
// by the running config as if it had just come, but for its way to the upstream.
func explainRequest(app *App, r *http.Request) (any, error) {
	var body asked
	if err := decodeBody(r, &body); err != nil {
		return nil, err
	}
	if (body.RequestID == "") == (body.URL == "") {
		return nil, badRequest("either a url is needed, with method and headers, or the request_id of a refusal")
	}
	if body.RequestID != "" {
		if x := app.explained.find(body.RequestID); x != nil {
			return x, nil
		}
		return nil, &problem{http.StatusNotFound, errNotRemembered.Error()}
	}
	running, err := caddy.ActiveContext().AppIfConfigured("http")
	if err != nil {
		return nil, err
	}
	described, port, err := body.request(r.Context())
	if err != nil {
		return nil, err
	}
	return explain(running.(*caddyhttp.App), described, port) //nolint:contextcheck // the request has it
}

// errNotRemembered says that an id is none of a refusal, or of one too long ago.
var errNotRemembered = errors.New("no refusal with this id is remembered: the last 1000 of edge_auth are, since Caddy was started; what edge_auth_issuer refuses stands in the audit log")

// request is the one that is described, and the port it goes to.
func (a *asked) request(ctx context.Context) (*http.Request, string, error) {
	client := cmp.Or(a.Client, "127.0.0.1")
	if _, err := netip.ParseAddr(client); err != nil {
		return nil, "", badRequest("client '%s': an IP address is needed", client)
	}
	header := make(http.Header, len(a.Header))
	for name, values := range a.Header {
		header[http.CanonicalHeaderKey(name)] = values
	}
	return newRequest(ctx, cmp.Or(a.Method, http.MethodGet), a.URL, header, a.Body, client)
}
