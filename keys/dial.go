package keys

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// dialer connects for the key set of one configured host. Names may point
// anywhere, and elsewhere a moment later; so what is judged is the address that
// is about to be dialled.
type dialer struct {
	host string // that stands in the config
}

func (d dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	named, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	plain := net.Dialer{Timeout: fetchTimeout, Control: func(_, resolved string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(resolved)
		if err != nil {
			return err
		}
		return d.check(named, at.Addr().Unmap())
	}}
	return plain.DialContext(ctx, network, address)
}

// check says whether what goes by a name may be at an address. Where clouds tell
// machines their secrets (169.254.169.254) no issuer is, unless the config names
// that very address. And only a name from the config may stand for this machine:
// what an issuer says of where its keys are must not lead to services that trust
// whoever is local. A proxy on this machine goes by localhost or an address.
func (d dialer) check(named string, at netip.Addr) error {
	literal, err := netip.ParseAddr(named)
	configured := named == d.host
	switch {
	case configured && err == nil && literal.Unmap() == at:
		return nil
	case at.IsLinkLocalUnicast() || at.IsMulticast() || at.IsUnspecified():
		return fmt.Errorf("%s is at %v, where no issuer is looked for", named, at)
	case at.IsLoopback() && !configured && !isLoopback(named):
		return fmt.Errorf("%s is at %v, which is this machine: only the configured address may name it", named, at)
	}
	return nil
}
