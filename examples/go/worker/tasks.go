package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	pb "tailrace.dev/examples/go/gen/tailrace/v1"
)

// task reads the array of positional arguments and returns what is to become JSON.
type task func(ctx context.Context, args json.RawMessage) (any, error)

// tasks maps each task_type to its code.
var tasks = map[string]task{
	"add": func(_ context.Context, args json.RawMessage) (any, error) {
		var terms [2]int
		err := json.Unmarshal(args, &terms)
		return terms[0] + terms[1], err
	},
	"fail": func(_ context.Context, args json.RawMessage) (any, error) {
		var message [1]string
		if err := json.Unmarshal(args, &message); err != nil {
			return nil, err
		}
		return nil, taskError{Type: "ValueError", Message: message[0]}
	},
	"sleep": func(ctx context.Context, args json.RawMessage) (any, error) {
		var seconds [1]float64
		if err := json.Unmarshal(args, &seconds); err != nil {
			return nil, err
		}
		select {
		case <-time.After(time.Duration(seconds[0] * float64(time.Second))):
			return seconds[0], nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	},
}

// taskError has a type that other languages know: Python raises this one as its own ValueError.
type taskError struct{ Type, Message string }

func (e taskError) Error() string { return e.Message }

// Why a task is stopped, as its context's cause.
var (
	errLost     = errors.New("the lease was lost")   // nobody wants the result any more
	errRevoked  = errors.New("the task was revoked") // whoever asked wants to know that it stopped
	errTimedOut = errors.New("execution_timeout is over")
)

// run executes one assignment and says how it ended.
func run(ctx context.Context, a *pb.Assignment) *pb.AttemptResult {
	if limit := a.Spec.ExecutionTimeout; limit != nil {
		limited, stop := context.WithTimeoutCause(ctx, limit.AsDuration(), errTimedOut)
		defer stop()
		ctx = limited
	}
	t, known := tasks[a.Spec.TaskType]
	if !known {
		message := fmt.Sprintf("this worker does not know %q", a.Spec.TaskType)
		return failed(a, &pb.Failure{Kind: pb.FailureKind_FAILURE_KIND_SYSTEM, Type: "UnknownTaskType", Message: message})
	}
	value, err := call(ctx, t, a.Spec.Input)
	if err == nil {
		return &pb.AttemptResult{Lease: a.Lease, Outcome: &pb.AttemptResult_Success{Success: value}}
	}
	switch context.Cause(ctx) {
	case errRevoked:
		return &pb.AttemptResult{Lease: a.Lease, Outcome: &pb.AttemptResult_Revoked{Revoked: &pb.RevokedOutcome{}}}
	case errTimedOut:
		kind := pb.FailureKind_FAILURE_KIND_TIMEOUT
		return failed(a, &pb.Failure{Kind: kind, Type: "ExecutionTimeout", Message: err.Error(), Source: "go"})
	}
	e := taskError{Type: fmt.Sprintf("%T", err)}
	errors.As(err, &e)
	return failed(a, &pb.Failure{
		Kind: pb.FailureKind_FAILURE_KIND_APPLICATION, Type: e.Type, Message: err.Error(), Source: "go",
	})
}

func failed(a *pb.Assignment, why *pb.Failure) *pb.AttemptResult {
	return &pb.AttemptResult{Lease: a.Lease, Outcome: &pb.AttemptResult_Failure{Failure: why}}
}

func call(ctx context.Context, t task, input *pb.Payload) (*pb.Payload, error) {
	var arguments struct {
		Args json.RawMessage `json:"args"`
	}
	if err := json.Unmarshal(input.GetData(), &arguments); err != nil {
		return nil, err
	}
	value, err := t(ctx, arguments.Args)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(value)
	return &pb.Payload{ContentType: "application/json", Data: data}, err
}
