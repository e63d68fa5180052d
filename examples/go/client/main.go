// Command client submits one Tailrace task, waits for its end and prints it:
//
//	client [-address HOST:PORT] TASK_TYPE [ARGUMENT...]
//
// Each argument is JSON, or else a string. It exits with 0 for SUCCESS, 1 for FAILURE or REVOKED, 2 for a refused call.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "tailrace.dev/examples/go/gen/tailrace/v1"
)

func main() {
	address := flag.String("address", "localhost:7440", "the server")
	queue := flag.String("queue", "", "the queue; empty means default")
	taskID := flag.String("id", fmt.Sprintf("go-%d-%x", os.Getpid(), time.Now().UnixNano()), "the task's id")
	timeout := flag.Duration("timeout", time.Minute, "how long to wait")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	conn, err := grpc.NewClient(*address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		exit(2, err)
	}
	client := pb.NewTaskServiceClient(conn)

	spec := &pb.TaskSpec{TaskType: flag.Arg(0), Queue: *queue, Input: arguments(flag.Args()[min(1, flag.NArg()):])}
	// The id is ours, so that a repeated submit is known as one and the same.
	request := &pb.SubmitRequest{TaskId: *taskID, Spec: spec}
	var trailer metadata.MD
	err = persist(ctx, func() error {
		_, err := client.Submit(ctx, request, grpc.Trailer(&trailer))
		return err
	})
	if err != nil {
		// The reason is what to branch on; the message is for people.
		exit(2, fmt.Errorf("refused, tailrace-reason %v: %w", trailer.Get("tailrace-reason"), err))
	}

	var task *pb.TaskResult
	err = persist(ctx, func() (err error) {
		task, err = wait(ctx, client, *taskID)
		return err
	})
	if err != nil {
		exit(2, err)
	}
	fmt.Println(*taskID, strings.TrimPrefix(task.State.String(), "TASK_STATE_"))
	if task.State != pb.TaskState_TASK_STATE_SUCCESS {
		exit(1, fmt.Errorf("%s: %s\n%s", task.Failure.GetType(), task.Failure.GetMessage(), task.Failure.GetTraceback()))
	}
	fmt.Println(string(task.Result.GetData()))
}

// arguments packs positional arguments the way that Python's submit(name, *args) does.
func arguments(words []string) *pb.Payload {
	args := make([]any, len(words))
	for i, word := range words {
		if json.Unmarshal([]byte(word), &args[i]) != nil {
			args[i] = word
		}
	}
	data, err := json.Marshal(map[string]any{"args": args, "kwargs": map[string]any{}})
	if err != nil {
		exit(2, err)
	}
	return &pb.Payload{ContentType: "application/json", Data: data}
}

// wait follows one task to its end. The server pushes: nothing is polled.
func wait(ctx context.Context, client pb.TaskServiceClient, taskID string) (*pb.TaskResult, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	targets := []*pb.WaitTarget{{TaskId: taskID}}
	stream, err := client.WaitFor(ctx, &pb.WaitForRequest{Targets: targets, DoneOnly: true})
	if err != nil {
		return nil, err
	}
	for {
		news, err := stream.Recv()
		if err == io.EOF { // RECONNECT: the server wants the stream elsewhere
			return nil, status.Error(codes.Unavailable, "the stream ended before the task")
		}
		if err != nil {
			return nil, err
		}
		if len(news.NotFoundTaskIds) > 0 {
			return nil, errors.New("the server does not know this task")
		}
		for _, task := range news.Tasks {
			if task.Done {
				return task, nil
			}
		}
	}
}

// persist repeats a call while the server, or the way to it, is out of order. All calls made here may be repeated.
func persist(ctx context.Context, call func() error) error {
	for {
		err := call()
		if status.Code(err) != codes.Unavailable {
			return err
		}
		select {
		case <-time.After(time.Second / 4):
		case <-ctx.Done():
			return err
		}
	}
}

func exit(code int, err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(code)
}
