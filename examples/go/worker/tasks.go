package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	pb "tailrace.dev/examples/go/gen/tailrace/v1"
)

// tasks maps a task_type to its code. They take what submit(name, *args) of the Python client sends.
var tasks = map[string]func(ctx context.Context, args []json.RawMessage) (any, error){
	"add": func(_ context.Context, args []json.RawMessage) (any, error) {
		var x, y int
		if err := decode(args, &x, &y); err != nil {
			return nil, err
		}
		return x + y, nil
	},
	"fail": func(_ context.Context, args []json.RawMessage) (any, error) {
		var message string
		if err := decode(args, &message); err != nil {
			return nil, err
		}
		return nil, taskError{Type: "ValueError", Message: message}
	},
	"sleep": func(ctx context.Context, args []json.RawMessage) (any, error) {
		var seconds float64
		if err := decode(args, &seconds); err != nil {
			return nil, err
		}
		select {
		case <-time.After(time.Duration(seconds * float64(time.Second))):
			return seconds, nil
		case <-ctx.Done(): // the lease was lost: nobody wants the result any more
			return nil, ctx.Err()
		}
	},
}

// taskError carries a type that programs in other languages know: Python raises it as its own ValueError.
type taskError struct{ Type, Message string }

func (e taskError) Error() string { return e.Message }

// run executes one assignment and says how it ended.
func run(ctx context.Context, a *pb.Assignment) *pb.AttemptResult {
	result := &pb.AttemptResult{Lease: a.Lease}
	value, err := call(ctx, a.Spec)
	switch e := (taskError{}); {
	case err == nil:
		result.Outcome = &pb.AttemptResult_Success{Success: value}
	case errors.Is(err, errUnknownType):
		failure := &pb.Failure{Kind: pb.FailureKind_FAILURE_KIND_SYSTEM, Type: "UnknownTaskType", Message: err.Error()}
		result.Outcome = &pb.AttemptResult_Failure{Failure: failure}
	default:
		failure := &pb.Failure{Kind: pb.FailureKind_FAILURE_KIND_APPLICATION, Type: "Error", Message: err.Error(), Source: "go"}
		if errors.As(err, &e) {
			failure.Type = e.Type
		}
		result.Outcome = &pb.AttemptResult_Failure{Failure: failure}
	}
	return result
}

var errUnknownType = errors.New("this worker does not know the task type")

func call(ctx context.Context, spec *pb.TaskSpec) (*pb.Payload, error) {
	task, known := tasks[spec.TaskType]
	if !known {
		return nil, fmt.Errorf("%w %q", errUnknownType, spec.TaskType)
	}
	var arguments struct {
		Args []json.RawMessage `json:"args"`
	}
	if err := json.Unmarshal(spec.Input.GetData(), &arguments); err != nil {
		return nil, err
	}
	value, err := task(ctx, arguments.Args)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(value)
	return &pb.Payload{ContentType: "application/json", Data: data}, err
}

func decode(args []json.RawMessage, into ...any) error {
	if len(args) != len(into) {
		return fmt.Errorf("want %d arguments, have %d", len(into), len(args))
	}
	for i := range into {
		if err := json.Unmarshal(args[i], into[i]); err != nil {
			return fmt.Errorf("argument %d: %w", i+1, err)
		}
	}
	return nil
}
