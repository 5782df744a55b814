// Command bearerd gives applications without credentials the managed identity
// of the Azure machine that they run on.
package main

import "os"

// version is set by the linker: -X main.version=v1.2.3.
var version string

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }
