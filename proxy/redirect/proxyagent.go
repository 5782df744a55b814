package redirect

import (
	"os"
	"path/filepath"
	"strings"
)

// agentCommand is the Guest Proxy Agent's program, azure-proxy-agent
// (https://github.com/Azure/GuestProxyAgent), as the kernel cuts its name.
const agentCommand = "azure-proxy-age"

// ProxyAgentRuns reports whether the Guest Proxy Agent runs on this machine,
// whose processes stand under proc (/proc). With the Metadata Security Protocol
// it takes connections to IMDS at connect(2), before netfilter, and judges them
// by rules of its own: a guard of ours sees none of them.
func ProxyAgentRuns(proc string) bool {
	names, err := filepath.Glob(filepath.Join(proc, "[0-9]*", "comm"))
	if err != nil {
		return false // a pattern that cannot be
	}
	for _, name := range names {
		if text, err := os.ReadFile(name); err == nil && strings.TrimSpace(string(text)) == agentCommand {
			return true
		}
	}
	return false
}
