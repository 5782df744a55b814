package azure

import "time"

// Credential tells what a call brings along of its own to be authorised by.
type Credential uint8

// The kinds of credentials.
const (
	// None: no Authorization and no shared access signature.
	None Credential = iota
	// Dead: an Authorization that the service cannot accept, or that is not
	// Entra's: a shared key's signature, Basic, a dummy, an expired token.
	Dead
	// SAS: a shared access signature.
	SAS
	// Live: a well-formed, unexpired token.
	Live
)

// CredentialOf tells what a call brings along.
func CredentialOf(c *Call, now time.Time) Credential { return None }
