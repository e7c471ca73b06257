package edgeauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/edgeauth/caddy-edgeauth/internal/curl"
)

func explainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "explain <url> | - | --id <request id>", Short: "Says step by step what becomes of a request, and why",
		Long: `Says step by step what becomes of a request: which policy holds, what each
authenticator finds, which rule is not met, and what the upstream would get. The
request goes to no upstream; credentials are checked as in earnest, and shown
nowhere.

The request is an address with --method and --header; or, with -, a command line of
curl on standard input, as browsers copy it, where no other user of this machine can
see its secrets; or one that was refused, by the id that its answer (X-Request-Id)
and the log have.

The running Caddy explains it. With --config the config in that file does, and no
Caddy needs to run.`,
		Args: cobra.MaximumNArgs(1),
		RunE: runExplain,
	}
	flags := cmd.Flags()
	flags.StringP("method", "X", "", "The method; default: GET")
	flags.StringArrayP("header", "H", nil, "A header such as 'Accept: text/html'; repeat for several")
	flags.String("client", "", "The address that the request comes from; default: 127.0.0.1")
	flags.String("id", "", "The id of a request that was refused")
	flags.StringP("config", "c", "", "Explain by the config in this file, without the running Caddy")
	return cmd
}

func runExplain(cmd *cobra.Command, args []string) error {
	wanted, err := askedFor(cmd, args)
	if err != nil {
		return err
	}
	var x explanation
	if config, _ := cmd.Flags().GetString("config"); config != "" {
		err = explainOffline(cmd, config, wanted, &x)
	} else {
		err = ask(cmd, http.MethodPost, "/explain", wanted, &x)
	}
	if err != nil {
		return err
	}
	if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(x)
	}
	_, err = io.WriteString(cmd.OutOrStdout(), x.text())
	return err
}

// askedFor reads which request is meant.
func askedFor(cmd *cobra.Command, args []string) (*asked, error) {
	flags := cmd.Flags()
	wanted := new(asked)
	wanted.RequestID, _ = flags.GetString("id")
	wanted.Client, _ = flags.GetString("client")
	described := flags.Changed("method") || flags.Changed("header") || flags.Changed("client")
	switch {
	case described && (wanted.RequestID != "" || len(args) == 1 && args[0] == "-"):
		return nil, errors.New("--method, --header and --client describe an address; leave them out where - or --id says which request it is")
	case (wanted.RequestID == "") == (len(args) == 0):
		return nil, errors.New("which request? Give its address, - for a command line of curl on standard input, or --id")
	case wanted.RequestID != "":
		return wanted, nil
	case args[0] == "-":
		line, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxAdminBody))
		if err != nil {
			return nil, fmt.Errorf("reading standard input: %w", err)
		}
		return askedOf(curl.Parse(string(line)))
	}
	wanted.URL = args[0]
	wanted.Method, _ = flags.GetString("method")
	lines, _ := flags.GetStringArray("header")
	wanted.Header = make(map[string]textOrList)
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, errors.New("--header: 'Name: value' is needed")
		}
		name = http.CanonicalHeaderKey(strings.TrimSpace(name))
		if slices.Contains(credentialHeaders, name) {
			return nil, fmt.Errorf("others see what stands on a command line: a request with %s is given as a command line of curl on standard input, by -", name)
		}
		wanted.Header[name] = append(wanted.Header[name], strings.TrimSpace(value))
	}
	return wanted, nil
}

// credentialHeaders are those that always carry a credential.
var credentialHeaders = []string{"Authorization", "Cookie", "Proxy-Authorization"}

func askedOf(r curl.Request, err error) (*asked, error) {
	if err != nil {
		return nil, err
	}
	wanted := &asked{Method: r.Method, URL: r.URL, Body: r.Body, Header: make(map[string]textOrList)}
	for name, values := range r.Header {
		wanted.Header[name] = values
	}
	return wanted, nil
}

// explainOffline explains by a config that does not run.
func explainOffline(cmd *cobra.Command, file string, wanted *asked, x *explanation) error {
	if wanted.RequestID != "" {
		return errors.New("--id asks the running Caddy, which remembers the refusal; leave out --config")
	}
	cmd.SilenceUsage = true
	adapter, _ := cmd.Flags().GetString("adapter")
	raw, _, _, err := caddycmd.LoadConfig(file, adapter)
	if err != nil {
		return err
	}
	var config caddy.Config
	if err := json.Unmarshal(raw, &config); err != nil {
		return fmt.Errorf("reading the config: %w", err)
	}
	// Its logs belong to the running Caddy.
	config.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{caddy.DefaultLoggerName: {BaseLog: caddy.BaseLog{Level: "ERROR"}}}}
	ctx, err := caddy.ProvisionContext(&config)
	if err != nil {
		return err
	}
	if running, err := ctx.AppIfConfigured("edge_auth"); err == nil {
		if err := running.(*App).prepareOffline(ctx); err != nil {
			return err
		}
	}
	app, err := ctx.AppIfConfigured("http")
	if err != nil {
		return fmt.Errorf("the config has no servers: %w", err)
	}
	r, port, err := wanted.request(ctx)
	if err != nil {
		return err
	}
	found, err := explain(app.(*caddyhttp.App), r, port)
	if err == nil {
		*x = *found
	}
	return err
}

// text is the explanation for people.
func (x *explanation) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", x.Request.Method, x.Request.URL)
	if x.Server != "" {
		fmt.Fprintf(&b, "  (server %s)", x.Server)
	}
	b.WriteByte('\n')
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, s := range x.Steps {
		name := s.Step
		if s.Authenticator != "" {
			name = s.Step + " " + s.Authenticator
		} else if s.Policy != "" && s.Step == "policy" {
			name = s.Step + " " + s.Policy
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", name, s.Outcome, s.Detail)
	}
	_ = w.Flush() // into memory
	x.end(&b)
	return b.String()
}

// end is how the explanation ends: what became of the request.
func (x *explanation) end(b *strings.Builder) {
	switch {
	case x.Outcome == outcomeRefused || x.Outcome == outcomeReported:
		fmt.Fprintf(b, "%s: %d %s\n", x.Outcome, x.Status, x.Code)
		if x.Location != "" {
			fmt.Fprintf(b, "  the browser is sent to: %s\n", x.Location)
		}
		if x.Detail != "" {
			fmt.Fprintf(b, "  the client is told: %s\n", x.Detail)
		}
		fmt.Fprintf(b, "  the cause: %s\n", x.Cause)
	case x.Upstream != "":
		fmt.Fprintf(b, "%s, to %s\n", x.Outcome, x.Upstream)
	default:
		fmt.Fprintln(b, x.Outcome)
	}
	for _, h := range x.Headers {
		fmt.Fprintf(b, "  %s: %s\n", h.Name, h.Value)
	}
	for _, name := range x.Removed {
		fmt.Fprintf(b, "  without %s\n", name)
	}
	if x.Outcome == outcomePassed && !slices.ContainsFunc(x.Steps, func(s step) bool { return s.Step == "policy" }) {
		fmt.Fprintln(b, "no edge_auth comes before this, so nobody is asked and nothing is stripped")
	}
	if len(x.NotRun) > 0 {
		fmt.Fprintf(b, "passed over, for they may do more than change the request: %s\n", strings.Join(x.NotRun, ", "))
	}
}
