"""The Redis store does something wrong with times, progress or workers."""

from tests.mutations.mutation import redis

TIMES = (
    redis("a start deadline does not hold", "lua/_record.lua", ("if task.state == 'PENDING' and", "if false and")),
    redis(
        "a delivery does not meet the start deadline",
        "lua/_record.lua",
        (" and task.place ~= 'lease' then first", " then first"),
    ),
    redis("a total timeout does not hold", "lua/_record.lua", ("task.total_deadline_ms or math.huge", "math.huge")),
    redis(
        "an execution timeout does not hold",
        "lua/_record.lua",
        ("if task.state == 'STARTED' and task.start_ms and", "if false and"),
    ),
    redis(
        "a worker has no time to end an attempt itself",
        "lua/_record.lua",
        ("task.execution_timeout_ms + EXECUTION_GRACE_MS", "task.execution_timeout_ms"),
    ),
    redis(
        "a revoked task fails by its deadline",
        "lua/_deadlines.lua",
        ("if task.has_revocation then return end_revoked(task) end", ""),
    ),
    redis("every missed deadline is final", "lua/_deadlines.lua", ("if is_over then", "if true then")),
    redis(
        "the holder of an overdue lease is not told",
        "lua/_deadlines.lua",
        ("if task.place == 'lease' then tell_holder(task) end", ""),
    ),
    redis(
        "a deadline passes 1 ms late",
        "lua/_deadlines.lua",
        ("deadline_ms and deadline_ms <= NOW", "deadline_ms and deadline_ms < NOW"),
    ),
    redis("an overdue task is handed out", "lua/lease_tasks.lua", ("if is_overdue(task) then", "if false then")),
    redis(
        "no time to bring the result of an attempt after an outage",
        "lua/end_overdue.lua",
        ("NOW < grace_until and has_but_overrun(task)", "false"),
    ),
    redis(
        "no limit holds after an outage",
        "lua/_deadlines.lua",
        ("return task.state == 'STARTED' and not (", "return not ("),
    ),
    redis("all that is overdue at once has one jitter", "lua/end_overdue.lua", ("ARGV[8 + ended]", "ARGV[9]")),
    redis("a retry comes after the total timeout", "lua/_rules.lua", ("if task.total_deadline_ms and", "if false and")),
    redis(
        "the span to start within begins before the scheduled start",
        "lua/submit_tasks.lua",
        ("start_ms + change.start_within_ms", "NOW + change.start_within_ms"),
    ),
    redis("a scheduled task starts at once", "lua/submit_tasks.lua", ("change.schedule_ms or 0)", "0)")),
    redis(
        "a deadline that is met stays in its index",
        "lua/_indexes.lua",
        ("if task.deadline_ms and not deadline_of(task) then", "if false then"),
    ),
    redis(
        "a deadline that moves stays where it was",
        "lua/_indexes.lua",
        ("deadline_ms ~= task.deadline_ms", "not task.deadline_ms"),
    ),
    redis(
        "progress counts before the start",
        "lua/beat_leases.lua",
        ("progress ~= '' and task.state == 'STARTED'", "progress ~= ''"),
    ),
    redis(
        "progress of a task that is done is left behind",
        "lua/_rules.lua",
        ("if task.has_progress then put(task, 'g', false) end", ""),
    ),
    redis(
        "progress is told to no other process",
        "lua/_telling.lua",
        ("ipairs(progressed) do\n    for", "ipairs({}) do\n    for"),
    ),
    redis(
        "progress is told to everyone who waits", "lua/_telling.lua", ("task.progress_waiters or", "task.waiters or")
    ),
    redis(
        "who waits for progress is not noted down",
        "lua/_waiting.lua",
        ("with_progress and with_replica", "false and with_replica"),
    ),
    redis(
        "the next attempt is not handed the progress",
        "lua/lease_tasks.lua",
        ("outcome_payload(task), progress_of(task)", "outcome_payload(task), false"),
    ),
    redis(
        "progress is not read",
        "lua/_outcomes.lua",
        ("outcome_payload(task), progress_of(task)", "outcome_payload(task), false"),
    ),
    redis(
        "the worker is not noted down",
        "lua/_rules.lua",
        ("if worker_id == '' then return end", "if true then return end"),
    ),
    redis("a beat without a name forgets the worker", "lua/_rules.lua", ("if worker_id == '' then return end", "")),
    redis("the end of a long worker id is lost", "lua/_rules.lua", ("string.sub(worker_id, 65)", "''")),
)
