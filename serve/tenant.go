package serve

import (
	"net/netip"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/runtime"
)

// tenantOf is who a request is made for: without keys, the address it came from.
func tenantOf(c *fiber.Ctx) *runtime.Tenant {
	a, _ := netip.AddrFromSlice(c.Context().RemoteIP())
	return &runtime.Tenant{Name: nameOfAddress(a)}
}

// nameOfAddress is the name of the tenant that sends from an address. Of IPv6 it
// is the network of 64 bits, all of whose addresses one host may use.
func nameOfAddress(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a.String()
	}
	network, _ := a.Prefix(64) // no address is shorter
	return network.String()
}
