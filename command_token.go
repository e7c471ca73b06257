package edgeauth

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os/user"

	"github.com/spf13/cobra"

	"github.com/edgeauth/caddy-edgeauth/records"
)

func tokenCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "list [<user>]", Short: "Lists tokens by their ids", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			query := filterFlags(cmd)
			if len(args) == 1 {
				query.Set("user", args[0])
			}
			return call(cmd, http.MethodGet, "/tokens"+encoded(query), nil, table("id", "user", "name", "groups", "scopes", "created", "expires", "last_used"))
		},
	}
	addFilterFlags(list)
	show := &cobra.Command{
		Use: "show <id>|-", Short: "Shows what is known of a token; with - it is read from standard input", Args: cobra.ExactArgs(1),
		Long: `Shows what is known of a token, by its id in the list, of which 8 characters do.
With - the token itself is read from standard input, so that one that was found
somewhere can be told whose it is. It is not sent; its digest is.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := tokenID(cmd, args[0])
			if err != nil {
				return err
			}
			return call(cmd, http.MethodGet, "/tokens/"+url.PathEscape(id), nil,
				lines("id", "user", "name", "groups", "scopes", "created", "created_by", "expires", "last_used", "replaced_by"))
		},
	}
	return group("token", "Manages opaque tokens", createTokenCommand(), list, show, revokeTokenCommand(), rotateTokenCommand())
}

func createTokenCommand() *cobra.Command {
	create := &cobra.Command{
		Use: "create <user>", Short: "Makes a token and shows it once", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{"user": args[0], "created_by": operator()}
			addText(cmd, body, "name")
			addList(cmd, body, "groups", "group")
			addList(cmd, body, "scopes", "scope")
			if err := addDuration(cmd, body, "ttl", "expires"); err != nil {
				return err
			}
			return call(cmd, http.MethodPost, "/tokens", body, memberOf("token"))
		},
	}
	create.Flags().String("name", "", "What the token is for")
	create.Flags().StringSlice("group", nil, "A group the token carries, repeat for several; default: those that the user is in at the time")
	create.Flags().StringSlice("scope", nil, "A scope the token carries; repeat for several")
	create.Flags().String("expires", "", "How long the token lives, such as 90d; default: for good")
	return create
}

func revokeTokenCommand() *cobra.Command {
	revoke := &cobra.Command{
		Use: "revoke [<id>|-]", Short: "Ends a token for good; or, by --user and --name, several", Args: cobra.MaximumNArgs(1),
		Long: `Ends a token for good, by its id in the list, of which 8 characters do. With - the
token itself is read from standard input. Without either, --user, --name and
--prefix say which tokens end.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			query := filterFlags(cmd)
			if len(args) == 0 {
				if len(query) == 0 {
					return errors.New("which token? Give its id, or --user, --name or --prefix")
				}
				return call(cmd, http.MethodDelete, "/tokens"+encoded(query), nil, func(answer any) string {
					said, _ := answer.(map[string]any)
					ids, _ := said["revoked"].([]any)
					return fmt.Sprintf("revoked %d tokens", len(ids))
				})
			}
			if len(query) > 0 {
				return errors.New("an id names one token; leave out --user, --name and --prefix")
			}
			id, err := tokenID(cmd, args[0])
			if err != nil {
				return err
			}
			return call(cmd, http.MethodDelete, "/tokens/"+url.PathEscape(id), nil, func(any) string { return "revoked token " + shortened(id) })
		},
	}
	addFilterFlags(revoke)
	return revoke
}

func rotateTokenCommand() *cobra.Command {
	rotate := &cobra.Command{
		Use: "rotate <id>|-", Short: "Makes a token that takes the place of another, and shows it once", Args: cobra.ExactArgs(1),
		Long: `Makes a token with the user, name, groups and scopes of another, and shows it once.
The other one ends at once, or lives on for --overlap, in which its clients can be
told of the new one.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := tokenID(cmd, args[0])
			if err != nil {
				return err
			}
			body := map[string]any{"created_by": operator()}
			if err := addDuration(cmd, body, "overlap", "overlap"); err != nil {
				return err
			}
			if err := addDuration(cmd, body, "ttl", "expires"); err != nil {
				return err
			}
			return call(cmd, http.MethodPost, "/tokens/"+url.PathEscape(id)+"/rotate", body, memberOf("token"))
		},
	}
	rotate.Flags().String("overlap", "", "How long the old token lives on, such as 24h; default: it ends at once")
	rotate.Flags().String("expires", "", "How long the new token lives; default: as long as the old one was made for")
	return rotate
}

func addFilterFlags(cmd *cobra.Command) {
	cmd.Flags().String("user", "", "Those of a user")
	cmd.Flags().String("name", "", "Those of a name")
	cmd.Flags().String("prefix", "", "Those whose ids begin so")
}

// filterFlags says by its flags which tokens a command means.
func filterFlags(cmd *cobra.Command) url.Values {
	query := make(url.Values)
	for _, name := range []string{"user", "name", "prefix"} {
		if value, _ := cmd.Flags().GetString(name); value != "" {
			query.Set(name, value)
		}
	}
	return query
}

func encoded(query url.Values) string {
	if len(query) == 0 {
		return ""
	}
	return "?" + query.Encode()
}

// tokenID is what an argument calls a token by; of one that is read from standard
// input it is the digest, so that the token itself goes nowhere.
func tokenID(cmd *cobra.Command, argument string) (string, error) {
	if argument != "-" {
		return argument, nil
	}
	secret, err := firstLine(cmd.InOrStdin(), "token")
	if err != nil {
		return "", err
	}
	digest, err := records.TokenDigest(secret)
	if err != nil {
		return "", fmt.Errorf("%w on standard input: was it cut, or mistyped?", err)
	}
	return digest, nil
}

// shortened is an id as lists show it.
func shortened(id string) string { return id[:min(len(id), 16)] }

// operator is who gives commands, for the records.
func operator() string {
	u, err := user.Current()
	if err != nil {
		return "command line"
	}
	return u.Username + ", command line"
}
