package edgeauth

import (
	"errors"
	"net/http"

	"github.com/spf13/cobra"
)

func jwtCommand() *cobra.Command {
	return group("jwt", "Makes and revokes JWTs",
		lifetimeCommand("create <user>", "Signs an access token with the gateway's own key and shows it", "/jwt", "jwt"),
		revokeCommand())
}

func revokeCommand() *cobra.Command {
	revoke := &cobra.Command{
		Use:   "revoke",
		Short: "Ends a JWT for good, wherever a policy says check_revoked",
		Long: `Ends a JWT for good, wherever a policy says check_revoked. The token is
read from standard input, since others see what stands on a command line. Or name
it by --jti and, where it has one, its --issuer.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := make(map[string]any)
			addText(cmd, body, "jti", "issuer")
			if err := addDuration(cmd, body, "lifetime", "lifetime"); err != nil {
				return err
			}
			switch {
			case len(args) == 1:
				return errors.New("others see what stands on a command line: give the token on standard input, or name it by --jti")
			case body["jti"] == nil:
				token, err := firstLine(cmd.InOrStdin(), "token")
				if err != nil {
					return err
				}
				body["jwt"] = token
			}
			return call(cmd, http.MethodPost, "/jwt/revoke", body, func(answer any) string {
				said, _ := answer.(map[string]any)
				if warning, ok := said["warning"].(string); ok {
					return "revoked; " + warning
				}
				return "revoked"
			})
		},
	}
	revoke.Flags().String("jti", "", "The id of the token, instead of the token")
	revoke.Flags().String("issuer", "", "The issuer of the token with that id")
	revoke.Flags().String("lifetime", "", "How long that token may still live; default: 400d")
	return revoke
}
