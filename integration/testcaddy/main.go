// Command testcaddy is Caddy with this module, as xcaddy builds it. The tests
// use it where no other binary is named.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/edgeauth/caddy-edgeauth"
)

func main() {
	caddycmd.Main()
}
