package edgeauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func backupCommand() *cobra.Command {
	return &cobra.Command{
		Use: "backup <file>", Short: "Copies the embedded store into a file, while Caddy runs", Args: cobra.ExactArgs(1),
		Long: `Copies the embedded store into a file, which must not exist yet: all users, tokens
and sessions as they are at one moment. Caddy runs on. The file is one of the store
again. It holds no token and no password, but digests and hashes of them: keep it as
you would keep those. The signing key is not in it; it is in Caddy's storage.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			size, err := fetchBackup(cmd, args[0])
			if err != nil {
				return err
			}
			return printAnswer(cmd, map[string]any{"file": args[0], "bytes": size}, func(any) string {
				return fmt.Sprintf("wrote %s (%d bytes)", args[0], size)
			})
		},
	}
}

// fetchBackup writes a backup into a file that is there only once it is whole.
func fetchBackup(cmd *cobra.Command, path string) (size int64, err error) {
	if _, err := os.Lstat(path); err == nil {
		return 0, fmt.Errorf("%s exists already; another name would do", path)
	}
	resp, err := send(cmd, http.MethodGet, "/backup", nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	file, err := os.CreateTemp(filepath.Dir(path), ".edge_auth-backup-*") // mode 0600
	if err != nil {
		return 0, err
	}
	size, err = io.Copy(file, resp.Body)
	if err == nil && size != resp.ContentLength {
		err = errors.New("the backup is not whole")
	}
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		// A link, unlike a renaming, takes nobody else's place.
		err = os.Link(file.Name(), path)
	}
	return size, errors.Join(err, os.Remove(file.Name()))
}

func restoreCommand() *cobra.Command {
	return &cobra.Command{
		Use: "restore <file>", Short: "Puts a backup in the place of all records of the embedded store", Args: cobra.ExactArgs(1),
		Long: `Puts a backup in the place of all records of the embedded store, while Caddy runs.
What was there is kept in a file beside the store's, whose name is shown. What was
revoked since the backup was made is valid again, so look through the tokens after.

Where Caddy can't start since the store is damaged, copy the backup to the store's
place instead: it is the same file.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer func() { _ = file.Close() }() // it was only read
			resp, err := send(cmd, http.MethodPut, "/backup", file)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			var answer map[string]any
			if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
				return fmt.Errorf("reading Caddy's answer: %w", err)
			}
			return printAnswer(cmd, answer, func(any) string {
				return fmt.Sprintf("restored %s; what was there is in %v\n%v", args[0], answer["before"], answer["warning"])
			})
		},
	}
}

func migrateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "migrate --to <url>", Short: "Moves everything from the embedded store to Redis", Args: cobra.NoArgs,
		Long: `Copies everything from the embedded store to Redis, and reads each record back. The
embedded store takes no changes meanwhile, nor for --hold after: logins and the like
are answered 503, and who is known goes on. In that time, write the 'store redis'
that this prints into the Caddyfile, and reload. Nothing is lost then; where it comes
to nothing, the embedded store goes on after --hold, or at once when Caddy restarts.

Placeholders in the URL are replaced by the running Caddy, so that no password stands
on the command line: --to 'redis://:{env.REDIS_PASSWORD}@10.0.0.5:6379/0'`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text := func(flag string) string {
				value, _ := cmd.Flags().GetString(flag)
				return value
			}
			if text("to") == "" {
				return errors.New("where to? --to redis://host:port/database")
			}
			if password := passwordIn(text("to")); password != "" && !strings.HasPrefix(password, "{") {
				return errors.New("others see what stands on a command line: let Caddy fill the password in, --to 'redis://:{env.REDIS_PASSWORD}@host:port/database'")
			}
			merge, _ := cmd.Flags().GetBool("merge")
			dryRun, _ := cmd.Flags().GetBool("dry-run")
			body := map[string]any{"to": map[string]any{"url": text("to"), "prefix": text("prefix")}, "merge": merge, "dry_run": dryRun}
			if err := addDuration(cmd, body, "hold", "hold"); err != nil {
				return err
			}
			return call(cmd, http.MethodPost, "/migrate", body, func(answer any) string { return showMigration(answer, text("to"), text("prefix")) })
		},
	}
	cmd.Flags().String("to", "", "The URL of the Redis: redis://host:port/database")
	cmd.Flags().String("prefix", "", "What all keys there begin with; default: edge_auth:")
	cmd.Flags().String("hold", "", "How long the embedded store takes no changes after; default: 10m")
	cmd.Flags().Bool("merge", false, "Go on though there are users or tokens there")
	cmd.Flags().Bool("dry-run", false, "Count the records, try the Redis, and change nothing")
	return cmd
}

// passwordIn is the password in the URL of a Redis, as it stands there.
func passwordIn(to string) string {
	_, rest, _ := strings.Cut(to, "://")
	at := strings.LastIndexByte(rest, '@')
	_, password, _ := strings.Cut(rest[:max(at, 0)], ":")
	return password
}

func showMigration(answer any, to, prefix string) string {
	said, _ := answer.(map[string]any)
	count, _ := said["records"].(map[string]any)
	var text strings.Builder
	kinds := make([]string, 0, len(count))
	for kind := range count {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	for _, kind := range kinds {
		fmt.Fprintf(&text, "%v records: %s\n", count[kind], kind)
	}
	until, done := said["held_until"].(string)
	if !done {
		return text.String() + "nothing was changed"
	}
	fmt.Fprintf(&text, "all of it is in Redis. Until %s the embedded store takes no changes: now let Caddy use Redis, and reload:\n\n\tstore redis %s", until, to)
	if prefix != "" {
		fmt.Fprintf(&text, " {\n\t\tprefix %s\n\t}", prefix)
	}
	return text.String()
}
