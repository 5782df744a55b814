package daemon

import "flag"

// update writes the files that tests compare with, in place of comparing.
var update = flag.Bool("update", false, "write testdata/*.err and the reference in docs/configuration.md anew")
