package redis

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestE11NameSaysWhichRedisAndNoSecret(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]*Config{
		"redis 10.0.0.1:6379/3":           {URL: "redis://user:hunter2@10.0.0.1/3"},
		"redis cache.example.com:6380/0":  {URL: "rediss://:hunter2@cache.example.com:6380", Username: "user"},
		"redis /run/redis.sock/2":         {URL: "unix:///run/redis.sock?db=2", Password: "hunter2"},
		"redis mymaster@10.0.0.1:26379/1": {Sentinel: &Sentinel{Master: "mymaster", Addresses: []string{"10.0.0.1:26379", "10.0.0.2:26379"}, Password: "hunter2"}, Database: 1},
		"redis cluster 10.0.0.1:7000":     {Cluster: []string{"10.0.0.1:7000", "10.0.0.2:7000"}, Password: "hunter2"},
	} {
		require.NoError(t, c.prepare())
		assert.Equal(t, want, c.Name())
	}
}
