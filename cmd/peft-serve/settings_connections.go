package main

import (
	"time"

	"github.com/peft-serve/peft-serve/serve"
)

// validateConnections reports what cannot be used of the settings of
// connections, before a model is read.
func (c *serveCommand) validateConnections(wrong *faults) {
	if c.MaxConnections < 0 {
		wrong.add("--max-connections: %d is below 0", c.MaxConnections)
	} else if err := serve.CheckConnections(c.MaxConnections); err != nil {
		wrong.add("--max-connections: %s", err)
	}
	for _, t := range []struct {
		name  string
		value time.Duration
	}{{"read-timeout", c.ReadTimeout}, {"upload-timeout", c.UploadTimeout}, {"write-timeout", c.WriteTimeout}, {"idle-timeout", c.IdleTimeout}} {
		if t.value <= 0 {
			wrong.add("--%s: it has to be above 0", t.name)
		}
	}
	if c.KeepAlive < 0 {
		wrong.add("--keep-alive: %s is below 0", c.KeepAlive)
	}
	for _, origin := range c.AllowOrigin {
		if err := serve.CheckOrigin(origin); err != nil {
			wrong.add("--allow-origin: %s", err)
		}
	}
	for _, host := range c.AllowedHosts {
		if err := serve.CheckHost(host); err != nil {
			wrong.add("--allowed-hosts: %s", err)
		}
	}
	if err := serve.CheckTLS(c.TLSCert, c.TLSKey, c.TLSClientCA); err != nil {
		wrong.add("--tls-cert, --tls-key, --tls-client-ca: %s", err)
	}
}
