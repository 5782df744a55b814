// Command secret prints a secret: secret URL. It knows of no proxy and no
// credential.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	answer, err := http.Get(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	var secret struct{ Value string }
	if err := json.NewDecoder(answer.Body).Decode(&secret); err != nil {
		log.Fatal(err)
	}
	fmt.Println(secret.Value)
}
