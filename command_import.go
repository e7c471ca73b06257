package edgeauth

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edgeauth/caddy-edgeauth/internal/djangodump"
	"github.com/edgeauth/caddy-edgeauth/records"
)

// importAtOnce is how many users or tokens are sent at a time.
const importAtOnce = 500

func importCommand() *cobra.Command {
	django := &cobra.Command{
		Use: "django <file>|-", Short: "Takes users and tokens over from Django's dumpdata", Args: cobra.ExactArgs(1),
		Long: `Takes users over, with their groups and password hashes, and the tokens of Django
REST framework, from what this has written:

    python manage.py dumpdata auth.User auth.Group authtoken.Token > dump.json

The same import again changes nothing, and never brings back what was revoked or
changed here since. What can't be taken is listed, with the reason, and the rest is
in. Tokens are not sent; their digests are.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			dump, err := readDjangoDump(cmd, args[0])
			if err != nil {
				return err
			}
			report, err := sendImport(cmd, dump)
			if err != nil {
				return err
			}
			return printAnswer(cmd, report, func(any) string { return report.String() })
		},
	}
	django.Flags().Bool("dry-run", false, "Say what would change, and change nothing")
	django.Flags().Bool("overwrite", false, "Take the dump's word also where something was changed or revoked here")
	django.Flags().String("staff-group", "staff", "The group of those who are is_staff; empty: none")
	django.Flags().String("superuser-group", "superuser", "The group of those who are is_superuser; empty: none")
	django.Flags().String("user-model", "", "AUTH_USER_MODEL, if it is not auth.User")
	django.Flags().String("username-field", "username", "The field that becomes the login name")
	return group("import", "Takes users and tokens over from another application", django)
}

func readDjangoDump(cmd *cobra.Command, name string) (*djangodump.Dump, error) {
	text := func(flag string) string {
		value, _ := cmd.Flags().GetString(flag)
		return value
	}
	from := cmd.InOrStdin()
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }() // it was only read
		from = file
	}
	cmd.SilenceUsage = true
	dump, err := djangodump.Read(from, djangodump.Options{
		UserModel: text("user-model"), UsernameField: text("username-field"),
		StaffGroup: text("staff-group"), SuperuserGroup: text("superuser-group"),
	})
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return dump, nil
}

// sendImport sends a dump in parts, and returns what became of it.
func sendImport(cmd *cobra.Command, dump *djangodump.Dump) (*importReport, error) {
	report := newImportReport()
	report.Refused = append(report.Refused, dump.Refused...)
	overwrite, _ := cmd.Flags().GetBool("overwrite")
	dryRun, _ := cmd.Flags().GetBool("dry-run")
	var batches []importBatch
	for users := range slices.Chunk(dump.Users, importAtOnce) {
		batches = append(batches, importBatch{Users: users})
	}
	for tokens := range slices.Chunk(dump.Tokens, importAtOnce) {
		for i := range tokens {
			tokens[i].Label, tokens[i].By = "django", operator()+", import"
		}
		batches = append(batches, importBatch{Tokens: tokens})
	}
	for n, batch := range batches {
		batch.Overwrite, batch.DryRun = overwrite, dryRun
		answer := newImportReport()
		if err := ask(cmd, http.MethodPost, "/import", batch, answer); err != nil {
			return nil, errors.Join(err, fmt.Errorf("after %d of %d parts; the same command goes on where this one stopped", n, len(batches)))
		}
		report.merge(answer)
	}
	return report, nil
}

// String is the report for people.
func (r *importReport) String() string {
	var text strings.Builder
	for _, kind := range []struct {
		name  string
		count map[records.Change]int
	}{{"users", r.Users}, {"tokens", r.Tokens}} {
		fmt.Fprintf(&text, "%s: %d added, %d changed, %d unchanged\n", kind.name,
			kind.count[records.Added], kind.count[records.Changed], kind.count[records.Unchanged])
	}
	if len(r.Refused) > 0 {
		fmt.Fprintf(&text, "not taken (%d):\n", len(r.Refused))
	}
	for _, refusal := range r.Refused {
		fmt.Fprintf(&text, "  %s: %s\n", refusal.What, refusal.Why)
	}
	return strings.TrimSuffix(text.String(), "\n")
}
