package redis

import (
	"context"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

// Advise says what about the server endangers what is kept there: that it may
// evict revocations, or forgets all at a restart. What a server does not tell,
// since INFO or CONFIG GET is not allowed, is not warned about.
func (s *Store) Advise(ctx context.Context) ([]string, error) {
	return do(ctx, s, func(ctx context.Context, client goredis.UniversalClient) ([]string, error) {
		if err := client.Ping(ctx).Err(); err != nil {
			return nil, err
		}
		var advice []string
		memory, err := client.Info(ctx, "memory").Result()
		if policy := infoField(memory, "maxmemory_policy"); err == nil && policy != "" && policy != "noeviction" {
			advice = append(advice, "Redis may evict what must not be lost (maxmemory-policy "+policy+"): "+
				"an evicted revocation revokes nothing; set maxmemory-policy noeviction, or give Edge Auth a Redis of its own")
		}
		persistence, err := client.Info(ctx, "persistence").Result()
		withoutLog := err == nil && infoField(persistence, "aof_enabled") == "0"
		if save, err := client.ConfigGet(ctx, "save").Result(); err == nil && withoutLog && save["save"] == "" {
			advice = append(advice, "Redis keeps nothing on disk: a restart logs everybody out, and forgets users and revocations; set appendonly yes")
		}
		return advice, nil
	})
}

// infoField is a line of what INFO says.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
