package imdstest_test

import (
	"context"
	"fmt"

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/imds/imdstest"
)

// A machine whose IMDS throttles one call. For a program of its own, serve the
// emulator by net/http instead.
func Example() {
	emulator := imdstest.New(imdstest.Options{})
	emulator.Script(imdstest.Throttled(imdstest.Seconds(5)))
	client, err := imds.New(imds.Options{Transport: emulator})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		token, err := client.Token(context.Background(), imds.Identity{}, "https://vault.azure.net")
		fmt.Println(token, err)
	}
	for _, call := range emulator.Calls() {
		fmt.Println(call.Resource, call.Status)
	}
	// Output:
	// <nil> token for https://vault.azure.net (system-assigned) from IMDS: status 429 too_many_requests (the machine has asked too often); IMDS limits the whole machine; bearerd waits and asks again, look for other programs that ask IMDS
	// [token] <nil>
	// https://vault.azure.net 429
	// https://vault.azure.net 200
}
