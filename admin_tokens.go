package edgeauth

import (
	"net/http"
	"net/url"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgeauth/caddy-edgeauth/internal/audit"
	"github.com/edgeauth/caddy-edgeauth/records"
)

// maxTokenLife is the longest life of a token that has an end.
const maxTokenLife = 100 * 365 * 24 * time.Hour

// madeToken is a token as the API shows it once, with its secret.
type madeToken struct {
	Secret string `json:"token"`
	records.Token
}

// filterOf reads which tokens a request means.
func filterOf(query url.Values) (records.TokenFilter, error) {
	for name := range query {
		switch name {
		case "user", "name", "prefix":
		default:
			return records.TokenFilter{}, badRequest("query parameter '%s': user, name and prefix would do", name)
		}
	}
	return records.TokenFilter{User: query.Get("user"), Label: query.Get("name"), Prefix: query.Get("prefix")}, nil
}

func listTokens(app *App, r *http.Request) (any, error) {
	filter, err := filterOf(r.URL.Query())
	if err != nil {
		return nil, err
	}
	tokens, err := records.ListTokens(r.Context(), app.store, filter)
	if tokens == nil {
		tokens = []records.Token{}
	}
	return tokens, err
}

func showToken(app *App, r *http.Request) (any, error) {
	return records.ShowToken(r.Context(), app.store, r.PathValue("id"))
}

func createToken(app *App, r *http.Request) (any, error) {
	var body struct {
		User      string         `json:"user"`
		Name      string         `json:"name"`
		Groups    []string       `json:"groups"`
		Scopes    []string       `json:"scopes"`
		Expires   caddy.Duration `json:"ttl"`
		CreatedBy string         `json:"created_by"`
	}
	if err := decodeBody(r, &body); err != nil {
		return nil, err
	}
	ttl, err := lifetimeOf(body.Expires, 0, maxTokenLife)
	if err != nil {
		return nil, err
	}
	if _, err := ownUser(r.Context(), app, body.User); err != nil {
		return nil, err
	}
	secret, token, err := records.NewToken(r.Context(), app.store, records.Token{
		User: body.User, Label: body.Name, Groups: body.Groups, Scopes: body.Scopes, CreatedBy: body.CreatedBy,
	}, ttl)
	if err != nil {
		return nil, err
	}
	return did(madeToken{secret, token}, tokenEvent(audit.TokenCreated, token)), nil
}

// tokenEvent is what happened to a token.
func tokenEvent(name string, token records.Token) audit.Event {
	return audit.Event{Name: name, User: token.User, Authenticator: "token", Token: token.ID}
}

func revokeToken(app *App, r *http.Request) (any, error) {
	id := r.PathValue("id")
	return did(map[string]string{"revoked": id}, tokenEvent(audit.TokenRevoked, records.Token{ID: id})), records.RevokeToken(r.Context(), app.store, id)
}

// revokeTokens ends all tokens of a user, of a name, or both.
func revokeTokens(app *App, r *http.Request) (any, error) {
	filter, err := filterOf(r.URL.Query())
	if err != nil {
		return nil, err
	}
	if filter == (records.TokenFilter{}) {
		return nil, badRequest("which tokens? Name them by user, name or prefix")
	}
	revoked, err := records.RevokeTokens(r.Context(), app.store, filter)
	ids := make([]string, len(revoked))
	events := make([]audit.Event, len(revoked))
	for i, token := range revoked {
		ids[i], events[i] = token.ID, tokenEvent(audit.TokenRevoked, token)
	}
	return did(map[string]any{"revoked": ids}, events...), err
}

func rotateToken(app *App, r *http.Request) (any, error) {
	var body struct {
		Overlap   caddy.Duration `json:"overlap"`
		Expires   caddy.Duration `json:"ttl"`
		CreatedBy string         `json:"created_by"`
	}
	if err := decodeBody(r, &body); err != nil {
		return nil, err
	}
	ttl, err := lifetimeOf(body.Expires, 0, maxTokenLife)
	if err != nil {
		return nil, err
	}
	overlap, err := lifetimeOf(body.Overlap, 0, maxTokenLife)
	if err != nil {
		return nil, err
	}
	secret, token, err := records.RotateToken(r.Context(), app.store, r.PathValue("id"), body.CreatedBy, overlap, ttl)
	if err != nil {
		return nil, err
	}
	return did(madeToken{secret, token}, tokenEvent(audit.TokenRotated, token)), nil
}
