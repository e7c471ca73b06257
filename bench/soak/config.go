package main

import (
	"fmt"
	"strings"
	"time"
)

// config is what a gateway runs: a path for each kind of credential.
const config = `{
	admin ADMIN
	auto_https off
	grace_period 5s
	log {
		level WARN
	}
	edge_auth {
		STORE
		policy any {
			token
			jwt {
				check_revoked
			}
			session
			check_user
		}
		NAMED
	}
}
(upstream) {
	reverse_proxy UPSTREAM {
		transport http {
			keepalive 2s
			dial_timeout 15s
		}
	}
}
http://ADDR {
	header X-Round ROUND
	edge_auth_issuer {
		access_lifetime 5m
	}
	handle /any/* {
		edge_auth any
		import upstream
	}
	handle /optional/* {
		edge_auth any {
			optional
		}
		import upstream
	}
	handle /foreign/* {
		edge_auth {
			jwt IDPISSUER {
				jwks http://IDP/GATEWAY
				audience soak
			}
		}
		import upstream
	}
	handle /secret/* {
		edge_auth {
			jwt {
				key HS256 SECRET
				issuer IDPISSUER
				audience soak
			}
		}
		import upstream
	}
	handle /basic/* {
		edge_auth {
			basic {
				BASIC
			}
		}
		import upstream
	}
	FOREIGN
	EXTRA
}
`

// foreign are the paths of what other applications keep in Redis.
const foreign = `handle /django/* {
		edge_auth {
			session django
		}
		import upstream
	}
	handle /express/* {
		edge_auth {
			session express {
				secret SECRET
			}
		}
		import upstream
	}
	handle /apikey/* {
		edge_auth {
			token {
				scheme Key
				key "apikey:{token}" {
					user owner.id
				}
			}
		}
		import upstream
	}
	handle /both/* {
		edge_auth {
			token
			session express {
				secret SECRET
				id_prefix app:
			}
			jwt IDPISSUER {
				jwks http://IDP/GATEWAY
				audience soak
				id_prefix idp:
			}
			check_user
		}
		import upstream
	}
`

// text is the gateway's config in a round: each differs in something that must
// change nothing for anybody.
func (g *gateway) text(round int) string {
	store, apps := "store embedded "+g.dir+"/soak.db", ""
	if g.way != nil {
		// Another timeout is another store: its connections and cache begin anew.
		store = fmt.Sprintf("store redis redis://%s/0 {\n\t\t\ttimeout %s\n\t\t\tcache %d {\n\t\t\t\tmax_age 30s\n\t\t\t}\n\t\t}\n\t\tsigning_key %s", g.way.addr, g.world.timeout+time.Duration(round/3%2)*time.Millisecond, findingsOfRedis, g.world.signingKey)
		apps = foreign
	}
	var named, extra string
	if round%2 == 1 {
		named = fmt.Sprintf("policy round%d {\n\t\t\tuse any\n\t\t\trequire group nobody\n\t\t}", round)
		extra = fmt.Sprintf("handle /round/* {\n\t\tedge_auth round%d\n\t\timport upstream\n\t}", round)
	}
	return strings.NewReplacer("ADMIN", g.admin, "ADDR", g.addr, "ROUND", fmt.Sprint("r", round), "STORE", store,
		"NAMED", named, "SECRET", g.world.idp.secret, "BASIC", g.world.basic, "IDPISSUER", idpIssuer,
		"IDP", g.world.idp.addr, "GATEWAY", g.name, "UPSTREAM", g.world.up.addr).Replace(
		strings.NewReplacer("FOREIGN", apps, "EXTRA", extra).Replace(config))
}

// spoil makes a config that must be refused, each time in another way.
func spoil(text string, round int) string {
	switch round % 4 {
	case 0:
		return strings.Replace(text, "edge_auth any\n", "edge_auth any {\n\t\t\tno_such_option\n\t\t}\n", 1)
	case 1:
		return strings.Replace(text, "edge_auth any\n", "edge_auth no_such_policy\n", 1)
	case 2:
		return strings.Replace(text, "key HS256 ", "key HS256 short #", 1)
	default:
		return strings.Replace(text, "audience soak", "audience {env.NOT_SET_AT_ALL}", 1) + "\n}"
	}
}
