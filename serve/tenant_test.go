package serve

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// A host cannot be many tenants by the addresses of its network.
func TestAddressesAreTenants(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7":           "192.0.2.7",
		"::ffff:192.0.2.7":    "192.0.2.7",
		"2001:db8:1:2:3:4::5": "2001:db8:1:2::/64",
		"2001:db8:1:2::6":     "2001:db8:1:2::/64",
		"2001:db8:1:3::6":     "2001:db8:1:3::/64",
		"fe80::1%eth0":        "fe80::/64",
	} {
		require.Equal(t, want, nameOfAddress(netip.MustParseAddr(address)), address)
	}
}
