package serve

import (
	"fmt"
	"net/http"
	"net/netip"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/runtime"
)

// tenantOf is who a request is made for: the tenant of its key or, without keys,
// the address that it came from.
func tenantOf(c *fiber.Ctx) *runtime.Tenant { return callerOf(c).tenant }

// addressTenant is the tenant that a request's address is.
func addressTenant(c *fiber.Ctx) *runtime.Tenant {
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

// publishing lets an upload through if its tenant has no more on the way than it
// may. Its body has not been read yet.
func (s *Server) publishing(upload fiber.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		who := callerOf(c)
		if who.key == nil {
			return upload(c)
		}
		most := who.keys.Tenant(who.key).Limits.Uploads
		leave, ok := s.tenantUploads.enter(who.tenant.Name, most)
		if !ok {
			return overLimit(who, "uploads", most, "uploads at once")
		}
		defer leave()
		return upload(c)
	}
}

// overLimit answers what is one too many for a tenant.
func overLimit(who *caller, limit string, most int, of string) *failure {
	return &failure{
		status: http.StatusTooManyRequests, kind: "rate_limit_error", code: "tenant_limit", retry: 1,
		message: fmt.Sprintf("tenant %q has the most %s that its limit %q allows, %d: try again later", who.tenant.Name, of, limit, most),
	}
}
