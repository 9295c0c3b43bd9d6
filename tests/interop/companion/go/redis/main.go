// A store for the rate limit service: Redis in memory.
package main

import (
	"flag"
	"log"

	"github.com/alicebob/miniredis/v2"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:6379", "where it listens")
	flag.Parse()
	server := miniredis.NewMiniRedis()
	if err := server.StartAddr(*listen); err != nil {
		log.Fatal(err)
	}
	select {}
}
