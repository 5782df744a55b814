package authority

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
)

// providedHint ends what an operator reads where the intermediate that the
// configuration names cannot be used.
const providedHint = "have cert_file and key_file issued again, or remove both to let bearerd make its own"

// loadProvided reads an intermediate of the operator's own. It is refused unless
// it is as limited as one of ours: a proxy's key must not be worth stealing.
func loadProvided(certFile, keyFile string) (*Root, error) {
	if certFile == "" || keyFile == "" {
		return nil, errors.New("authority: cert_file and key_file belong together; set both or none")
	}
	chain, err := readChain(certFile)
	if err != nil {
		return nil, fmt.Errorf("authority: cert_file: %w", err)
	}
	key, err := readKey(keyFile)
	if err != nil {
		return nil, fmt.Errorf("authority: key_file: %w", err)
	}
	keys := &keyPair{chain: chain, key: key}
	if err := keys.check(); err != nil {
		return nil, fmt.Errorf("authority: cert_file %s with key_file %s: %w; cert_file holds the intermediate, then its issuers up to and with the root, and key_file the intermediate's key", certFile, keyFile, err)
	}
	if err := checkConstrained(keys.intermediate()); err != nil {
		return nil, fmt.Errorf("authority: cert_file %s: %w; %s", certFile, err, providedHint)
	}
	return &Root{keys: keys, path: certFile, hint: providedHint}, nil
}

func readChain(path string) ([]*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w; name a PEM file that bearerd's user can read", err)
	}
	var chain []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != pemCertificate {
			return nil, fmt.Errorf("%s holds a %q; put only certificates in it", path, block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of %s: %w; write the file anew", len(chain)+1, path, err)
		}
		chain = append(chain, cert)
	}
	if len(chain) < 2 {
		return nil, fmt.Errorf("%s has %d certificates; put the intermediate in it, then its issuers up to and with the root", path, len(chain))
	}
	return chain, nil
}

func readKey(path string) (crypto.Signer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%w; name a PEM file that bearerd's user can read", err)
	}
	if err := checkKeyMode(path, info, providedHint); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w; name a PEM file that bearerd's user can read", err)
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if strings.HasSuffix(block.Type, pemPrivateKey) { // "EC PARAMETERS" may come first
			key, err := parseKey(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("%s: %w; write it with `openssl pkcs8 -topk8 -nocrypt`", path, err)
			}
			return key, nil
		}
	}
	return nil, fmt.Errorf("%s holds no private key in PEM; write it with `openssl pkcs8 -topk8 -nocrypt`", path)
}
