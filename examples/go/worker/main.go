// Command worker runs Tailrace tasks written in Go: those in tasks.go. Its protocol is in stream.go.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "tailrace.dev/examples/go/gen/tailrace/v1"
)

func main() {
	address := flag.String("address", "localhost:7440", "the server")
	queues := flag.String("queues", "default", "queues to draw from, most wanted first")
	flag.Parse()
	conn, err := grpc.NewClient(*address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()

	w := &worker{
		client: pb.NewWorkerServiceClient(conn),
		info: &pb.WorkerInfo{
			WorkerId: fmt.Sprintf("go-%d-%x", os.Getpid(), time.Now().UnixNano()),
			Queues:   strings.Split(*queues, ","),
			Sdk:      "go-example/1",
		},
		held:     map[string]*attempt{},
		finished: make(chan *pb.AttemptResult),
		signals:  make(chan os.Signal, 1),
	}
	signal.Notify(w.signals, syscall.SIGTERM, os.Interrupt)
	for !w.drained() { // a stream may end at any time; what is held lives on
		if err := w.serve(); err != nil {
			if code := status.Code(err); code == codes.InvalidArgument || code == codes.FailedPrecondition {
				log.Fatal(err) // coming back would not help
			}
			log.Printf("coming back with %d tasks in hand after: %v", len(w.held), err)
			time.Sleep(time.Second / 4)
		}
	}
}
