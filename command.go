package edgeauth

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "edge-auth",
		Short: "Manages the users, tokens and sessions of Edge Auth, and says why a request was refused",
		Long: `Manages the users, tokens and sessions of the running Caddy, through its admin
API, as 'caddy reload' does; says how it fares, and what becomes of a request. A
token or a session id is shown once, and never again: only its digest is kept.`,
		CobraFunc: func(cmd *cobra.Command) {
			flags := cmd.PersistentFlags()
			flags.String("address", "", "The address of the admin API, if it is not the default")
			flags.StringP("config", "c", "", "The config file that says where the admin API is")
			flags.StringP("adapter", "a", "", "The config adapter for that file")
			flags.Bool("json", false, "Print JSON, for scripts")
			cmd.AddCommand(userCommand(), tokenCommand(), sessionCommand(), jwtCommand(), importCommand(), backupCommand(), restoreCommand(), migrateCommand(),
				explainCommand(), healthCommand(), keysCommand(), cacheCommand())
		},
	})
}

func group(name, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: short}
	cmd.AddCommand(commands...)
	return cmd
}

func userCommand() *cobra.Command {
	add := &cobra.Command{
		Use:   "add <name>",
		Short: "Adds a user; the password is asked for, or read from standard input",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			password, err := readPassword(cmd.InOrStdin())
			if err != nil {
				return err
			}
			body := map[string]any{"id": args[0], "password": password}
			addText(cmd, body, "name", "email", "pk")
			addList(cmd, body, "groups", "group")
			return call(cmd, http.MethodPost, "/users", body, func(any) string { return "added user " + args[0] })
		},
	}
	add.Flags().StringSlice("group", nil, "A group the user is in; repeat for several")
	add.Flags().String("name", "", "The name to show")
	add.Flags().String("email", "", "The e-mail address")
	add.Flags().String("pk", "", "The primary key that the user has in Django: user_id of JWTs")
	return group("user", "Manages users", add,
		&cobra.Command{
			Use: "password <name>", Short: "Gives a user a new password, asked for or read from standard input", Args: cobra.ExactArgs(1),
			Long: `Gives a user a new password, which is asked for, or read from standard input. All
logins so far end, as with 'logout'.`,
			RunE: func(cmd *cobra.Command, args []string) error {
				password, err := readPassword(cmd.InOrStdin())
				if err != nil {
					return err
				}
				return call(cmd, http.MethodPut, "/users/"+url.PathEscape(args[0])+"/password", map[string]any{"password": password},
					func(any) string { return "changed the password of " + args[0] })
			},
		},
		&cobra.Command{
			Use: "list", Short: "Lists the users", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return call(cmd, http.MethodGet, "/users", nil, table("id", "active", "name", "email", "groups", "last_login"))
			},
		},
		&cobra.Command{
			Use: "remove <name>", Short: "Removes a user, with all tokens and sessions of theirs", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return call(cmd, http.MethodDelete, "/users/"+url.PathEscape(args[0]), nil,
					func(any) string { return "removed user " + args[0] })
			},
		},
		&cobra.Command{
			Use: "reset-second-factor <name>", Short: "Lets a user who has lost the second factor log in by password alone", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return call(cmd, http.MethodDelete, "/users/"+url.PathEscape(args[0])+"/second_factor", nil,
					func(any) string { return "removed the second factor of " + args[0] })
			},
		},
		&cobra.Command{
			Use: "disable <name>", Short: "Keeps a user out: logins, tokens, and what check_user checks", Args: cobra.ExactArgs(1),
			Long: `Keeps a user out from now on: logins and own tokens, and wherever a policy says
check_user. Nothing is removed; 'enable' undoes it. The user may also be one of
another application or issuer, by the id that upstreams see.`,
			RunE: func(cmd *cobra.Command, args []string) error {
				return call(cmd, http.MethodPost, "/users/"+url.PathEscape(args[0])+"/disable", nil,
					func(any) string { return "disabled " + args[0] })
			},
		},
		&cobra.Command{
			Use: "enable <name>", Short: "Lets a user in again who was disabled", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return call(cmd, http.MethodPost, "/users/"+url.PathEscape(args[0])+"/enable", nil,
					func(any) string { return "enabled " + args[0] })
			},
		},
		&cobra.Command{
			Use: "logout <name>", Short: "Ends all logins of a user so far", Args: cobra.ExactArgs(1),
			Long: `Ends all logins of a user so far: own sessions, and what was issued before now
wherever a policy says check_revoked or check_user. The user may also be one of
another application or issuer, by the id that upstreams see.`,
			RunE: func(cmd *cobra.Command, args []string) error {
				return call(cmd, http.MethodPost, "/users/"+url.PathEscape(args[0])+"/logout", nil,
					func(any) string { return "logged out " + args[0] })
			},
		})
}

func sessionCommand() *cobra.Command {
	return group("session", "Manages sessions",
		lifetimeCommand("create <user>", "Logs a user in and shows the session id once", "/sessions", "session"),
		&cobra.Command{
			Use: "list <user>", Short: "Lists a user's sessions by their ids", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return call(cmd, http.MethodGet, "/sessions/"+url.PathEscape(args[0]), nil, table("id", "auth_time", "expires", "ip", "device"))
			},
		},
		&cobra.Command{
			Use: "end <user> <id>", Short: "Ends a session; its id is in the list", Args: cobra.ExactArgs(2),
			RunE: func(cmd *cobra.Command, args []string) error {
				return call(cmd, http.MethodDelete, "/sessions/"+url.PathEscape(args[0])+"/"+url.PathEscape(args[1]), nil,
					func(any) string { return "ended session " + args[1] })
			},
		})
}

func lifetimeCommand(use, short, path, show string) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{"user": args[0]}
			if err := addDuration(cmd, body, "lifetime", "lifetime"); err != nil {
				return err
			}
			return call(cmd, http.MethodPost, path, body, memberOf(show))
		},
	}
	cmd.Flags().String("lifetime", "", "How long it lives, such as 8h")
	return cmd
}

func addText(cmd *cobra.Command, body map[string]any, names ...string) {
	for _, name := range names {
		if value, _ := cmd.Flags().GetString(name); value != "" {
			body[name] = value
		}
	}
}

func addList(cmd *cobra.Command, body map[string]any, field, name string) {
	if values, _ := cmd.Flags().GetStringSlice(name); cmd.Flags().Changed(name) {
		body[field] = values // empty where none is meant: --group ""
	}
}

func addDuration(cmd *cobra.Command, body map[string]any, field, name string) error {
	text, _ := cmd.Flags().GetString(name)
	if text == "" {
		return nil
	}
	d, err := caddy.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("--%s %s: a duration such as 8h or 90d is needed", name, text)
	}
	body[field] = d
	return nil
}

// readPassword asks for a password at a terminal, or reads the first line of
// what is piped in. It is never an argument, where others could see it.
func readPassword(stdin io.Reader) (string, error) {
	if file, ok := stdin.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return askPassword(int(file.Fd()))
	}
	return firstLine(stdin, "password")
}

// firstLine reads what is piped in.
func firstLine(stdin io.Reader, what string) (string, error) {
	line, err := bufio.NewReader(stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("reading the %s: %w", what, err)
	}
	if line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"); line == "" {
		return "", fmt.Errorf("no %s on standard input", what)
	}
	return line, nil
}

func askPassword(terminal int) (string, error) {
	var typed [2][]byte
	for i, prompt := range []string{"Password: ", "Once more: "} {
		fmt.Fprint(os.Stderr, prompt)
		var err error
		typed[i], err = term.ReadPassword(terminal)
		fmt.Fprintln(os.Stderr)
		if err != nil {
			return "", fmt.Errorf("reading the password: %w", err)
		}
	}
	if !bytes.Equal(typed[0], typed[1]) {
		return "", errors.New("the two passwords differ")
	}
	return string(typed[0]), nil
}

// call asks the running Caddy and prints what it answers.
func call(cmd *cobra.Command, method, path string, body any, show func(answer any) string) error {
	var answer any
	if err := ask(cmd, method, path, body, &answer); err != nil {
		return err
	}
	return printAnswer(cmd, answer, show)
}

// ask asks the running Caddy.
func ask(cmd *cobra.Command, method, path string, body, answer any) error {
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		payload = bytes.NewReader(data)
	}
	resp, err := send(cmd, method, path, payload)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		return fmt.Errorf("reading Caddy's answer: %w", err)
	}
	return nil
}

// send sends a request to the running Caddy.
func send(cmd *cobra.Command, method, path string, body io.Reader) (*http.Response, error) {
	cmd.SilenceUsage = true // from here on it is not the words that are wrong
	flag := func(name string) string {
		value, _ := cmd.Flags().GetString(name)
		return value
	}
	address, err := caddycmd.DetermineAdminAPIAddress(flag("address"), nil, flag("config"), flag("adapter"))
	if err != nil {
		return nil, fmt.Errorf("finding the admin API: %w", err)
	}
	resp, err := caddycmd.AdminAPIRequest(address, method, "/edge_auth"+path, make(http.Header), body)
	if err != nil {
		return nil, fmt.Errorf("asking the running Caddy: %w", inPlainWords(err))
	}
	return resp, nil
}

// inPlainWords is what the API says in an error, without the JSON around it.
func inPlainWords(err error) error {
	_, status, found := strings.Cut(err.Error(), ": HTTP ")
	status, body, isJSON := strings.Cut(status, ": {")
	var said struct{ Error string }
	if !found || !isJSON || json.Unmarshal([]byte("{"+body), &said) != nil || said.Error == "" {
		return err
	}
	return fmt.Errorf("HTTP %s: %s", status, said.Error)
}

func printAnswer(cmd *cobra.Command, answer any, show func(answer any) string) error {
	if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(answer)
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), show(answer))
	return err
}
