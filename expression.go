package edgeauth

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/edgeauth/caddy-edgeauth/identity"
)

// expression is a rule in Caddy's Common Expression Language: its matchers and
// placeholders work in it, and auth_user() gives the caller.
type expression struct {
	matcher caddyhttp.MatchExpression
}

func newExpression(ctx caddy.Context, text string) (*expression, error) {
	e := &expression{matcher: caddyhttp.MatchExpression{Expr: text}}
	if err := e.matcher.Provision(ctx); err != nil {
		return nil, fmt.Errorf("expression '%s': %s", text, onOneLine(err))
	}
	return e, nil
}

// checkExpression compiles an expression to see what is wrong with it.
func checkExpression(text string) error {
	if err := identity.CheckPlaceholders(text); err != nil {
		return fmt.Errorf("require expression: %w", err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	_, err := newExpression(ctx, text)
	return err
}

// onOneLine is an error of CEL without the picture of where it is.
func onOneLine(err error) string {
	first, _, _ := strings.Cut(err.Error(), "\n")
	return strings.TrimPrefix(first, "compiling CEL program: ERROR: ")
}

// holds reports whether the expression is true for r. One that can't be evaluated,
// since a claim is missing, say, does not hold; Caddy logs why.
func (e *expression) holds(r *http.Request) bool {
	ok, err := e.matcher.MatchWithError(r)
	return ok && err == nil
}

// The name by which expressions know the caller, and that of the function behind it,
// which gets the request.
const (
	celUser         = "auth_user"
	celUserFunction = "edge_auth_user"
)

// celLibrary adds auth_user() to Caddy's expressions.
type celLibrary struct{}

// CompileOptions is that of cel.Library.
func (celLibrary) CompileOptions() []cel.EnvOption {
	return []cel.EnvOption{
		cel.Macros(cel.GlobalMacro(celUser, 0, func(f cel.MacroExprFactory, _ ast.Expr, _ []ast.Expr) (ast.Expr, *cel.Error) {
			return f.NewCall(celUserFunction, f.NewIdent(caddyhttp.CELRequestVarName)), nil
		})),
		cel.Function(celUserFunction, cel.Overload(celUserFunction+"_request",
			[]*cel.Type{cel.ObjectType("http.Request")}, cel.MapType(cel.StringType, cel.DynType),
			cel.UnaryBinding(celIdentity))),
	}
}

// ProgramOptions is that of cel.Library.
func (celLibrary) ProgramOptions() []cel.ProgramOption { return nil }

// celIdentity gives the identity of a request's caller, with empty fields where it is
// nobody or they are unknown.
func celIdentity(request ref.Val) ref.Val {
	r, ok := request.(interface{ Context() context.Context })
	if !ok {
		return types.NewErr("%s() is for requests", celUser)
	}
	who := new(identity.Identity)
	if s, ok := caddyhttp.GetVar(r.Context(), stateKey).(*state); ok && s.who != nil {
		who = s.who
	}
	groups, scopes, claims := who.Groups, who.Scopes, who.AllClaims()
	return types.DefaultTypeAdapter.NativeToValue(map[string]any{
		"id": who.ID, "name": who.Name, "email": who.Email, "method": who.Method,
		"groups": append([]string{}, groups...), "scopes": append([]string{}, scopes...), "claims": claims,
		"auth_time": types.Timestamp{Time: who.AuthTime.UTC()}, "expires": types.Timestamp{Time: who.Expires.UTC()},
	})
}

var _ cel.Library = celLibrary{}
