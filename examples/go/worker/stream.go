package main

import (
	"context"
	"os"
	"time"

	"google.golang.org/grpc/codes"

	pb "tailrace.dev/examples/go/gen/tailrace/v1"
)

const (
	credits     = 8                // tasks held at once
	deadSilence = 50 * time.Second // the server speaks every 20 s: after this long the connection is dead
	fastestBeat = time.Second / 2
)

// attempt is one lease that this worker holds.
type attempt struct {
	lease     *pb.LeaseRef
	beatEvery time.Duration
	stop      context.CancelCauseFunc
	result    *pb.AttemptResult // nil while the task runs, then kept until the server has acknowledged it
}

type worker struct {
	client   pb.WorkerServiceClient
	info     *pb.WorkerInfo
	session  string
	held     map[string]*attempt // by lease token
	finished chan *pb.AttemptResult
	signals  chan os.Signal
	draining bool

	stream   pb.WorkerService_WorkClient
	beat     *time.Ticker
	interval time.Duration
}

func (w *worker) drained() bool { return w.draining && len(w.held) == 0 }

// serve speaks on one stream until it ends. Only this goroutine sends, and only it touches the worker's fields.
func (w *worker) serve() (err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if w.stream, err = w.client.Work(ctx); err != nil {
		return err
	}
	w.interval, w.beat = deadSilence, time.NewTicker(deadSilence) // until Welcome says
	defer w.beat.Stop()
	watchdog := time.AfterFunc(deadSilence, cancel)
	defer watchdog.Stop()
	frames, ended := make(chan *pb.WorkResponse), make(chan error, 1)
	go receive(ctx, w.stream, frames, ended)

	w.sayHello()
	for {
		select {
		case frame := <-frames:
			watchdog.Reset(deadSilence)
			if frame.GetDrained() != nil || frame.GetServerDrain() != nil {
				return nil // done, or wanted elsewhere
			}
			w.handle(frame)
		case result := <-w.finished:
			if a := w.held[string(result.Lease.LeaseToken)]; a != nil { // else the lease was lost meanwhile
				a.result = result
				w.sendResults(result)
			}
		case <-w.beat.C:
			w.sendBeats()
		case <-w.signals:
			w.draining = true
			w.send(&pb.WorkRequest{Frame: &pb.WorkRequest_Drain{Drain: &pb.Drain{}}})
		case err := <-ended:
			return err
		}
	}
}

func receive(ctx context.Context, s pb.WorkerService_WorkClient, frames chan<- *pb.WorkResponse, ended chan<- error) {
	for {
		frame, err := s.Recv()
		if err != nil {
			ended <- err
			return
		}
		select {
		case frames <- frame:
		case <-ctx.Done():
			return
		}
	}
}

func (w *worker) handle(response *pb.WorkResponse) {
	switch frame := response.Frame.(type) {
	case *pb.WorkResponse_Welcome:
		w.session = frame.Welcome.SessionId
		w.beatAtLeastEvery(frame.Welcome.HeartbeatInterval.AsDuration())
		w.heed(frame.Welcome.Leases)
		for _, a := range w.held { // what the last stream may not have carried any more
			w.beatAtLeastEvery(a.beatEvery)
			if a.result != nil {
				w.sendResults(a.result)
			}
		}
	case *pb.WorkResponse_Assignments:
		w.start(frame.Assignments.Assignments)
	case *pb.WorkResponse_LeaseStatuses:
		w.heed(frame.LeaseStatuses.Statuses)
	case *pb.WorkResponse_ResultAcks:
		for _, ack := range frame.ResultAcks.Acks {
			if codes.Code(ack.GetError().GetCode()) != codes.Unavailable { // every other answer is final
				w.drop(ack.LeaseToken)
			}
		}
	}
}

// start runs what was assigned. The first beats go out before any of the tasks' own code runs, so that a crash is
// always the crash of a task that the server knows to be started.
func (w *worker) start(assignments []*pb.Assignment) {
	beats := &pb.LeaseBeats{}
	for _, a := range assignments {
		beats.Beats = append(beats.Beats, &pb.LeaseBeat{Lease: a.Lease})
	}
	w.send(&pb.WorkRequest{Frame: &pb.WorkRequest_Beats{Beats: beats}})
	for _, a := range assignments {
		ctx, stop := context.WithCancelCause(context.Background())
		w.held[string(a.Lease.LeaseToken)] = &attempt{lease: a.Lease, beatEvery: a.LeaseDuration.AsDuration() / 3, stop: stop}
		w.beatAtLeastEvery(a.LeaseDuration.AsDuration() / 3)
		go func() { w.finished <- run(ctx, a) }()
	}
}

// sendBeats extends every lease in hand; with none it tells the server that this worker is there.
func (w *worker) sendBeats() {
	beats := &pb.LeaseBeats{}
	for _, a := range w.held {
		beats.Beats = append(beats.Beats, &pb.LeaseBeat{Lease: a.lease})
		if a.result != nil { // not acknowledged so far; repeating it is harmless
			w.sendResults(a.result)
		}
	}
	w.send(&pb.WorkRequest{Frame: &pb.WorkRequest_Beats{Beats: beats}})
}

func (w *worker) beatAtLeastEvery(interval time.Duration) {
	if interval = max(interval, fastestBeat); interval < w.interval {
		w.interval = interval
		w.beat.Reset(interval)
	}
}

// heed drops what is lost, and stops what was revoked: that attempt is still ours to end.
func (w *worker) heed(statuses []*pb.LeaseStatus) {
	for _, s := range statuses {
		if s.Error == nil && !s.Held {
			w.drop(s.LeaseToken)
		} else if a := w.held[string(s.LeaseToken)]; a != nil && s.RevokeRequested {
			a.stop(errRevoked)
		}
	}
}

func (w *worker) drop(leaseToken []byte) {
	if a := w.held[string(leaseToken)]; a != nil {
		a.stop(errLost)
		delete(w.held, string(leaseToken))
	}
}

func (w *worker) sayHello() {
	hello := &pb.Hello{ProtocolVersion: 1, Worker: w.info, SessionId: w.session, FlowControl: &pb.FlowControl{}}
	if !w.draining {
		hello.FlowControl.MaxOutstandingTasks = credits
	}
	for _, a := range w.held {
		hello.HeldLeases = append(hello.HeldLeases, a.lease)
	}
	w.send(&pb.WorkRequest{Frame: &pb.WorkRequest_Hello{Hello: hello}})
	if w.draining {
		w.send(&pb.WorkRequest{Frame: &pb.WorkRequest_Drain{Drain: &pb.Drain{}}})
	}
}

func (w *worker) sendResults(results ...*pb.AttemptResult) {
	w.send(&pb.WorkRequest{Frame: &pb.WorkRequest_Results{Results: &pb.AttemptResults{Results: results}}})
}

func (w *worker) send(frame *pb.WorkRequest) {
	_ = w.stream.Send(frame) // fails only on a stream that has ended, and then Recv tells why
}
