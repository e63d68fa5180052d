"""The Redis store does something wrong with queues, limits or what operators ask for."""

from tests.mutations.mutation import redis

QUEUES = (
    redis(
        "a paused queue delivers",
        "lua/lease_tasks.lua",
        ("is_paused(ARGV[i]) and 0 or mask_of(ARGV[i])", "mask_of(ARGV[i])"),
    ),
    redis(
        "a paused queue with tasks counts as not empty",
        "lua/lease_tasks.lua",
        (" > 0 and not is_paused(ARGV[i]) then", " > 0 then"),
    ),
    redis(
        "nothing says that a queue is paused",
        "lua/_outcomes.lua",
        ("is_paused(task.queue) and ' paused' or ''", "'' or ''"),
    ),
    redis("inputs have no limit", "lua/lease_tasks.lua", ("> max_input_bytes", "> math.huge")),
    redis("the first task is never free", "lua/lease_tasks.lua", ("is_first_free and #taken == 0", "false")),
    redis("every task is free", "lua/lease_tasks.lua", ("is_first_free and #taken == 0", "is_first_free")),
    redis(
        "a task that does not fit leaves its place",
        "lua/lease_tasks.lua",
        ("if not is_blocked then used = used + 1 end", "used = used + 1"),
    ),
    redis("a queue holds one task too many", "lua/submit_tasks.lua", (">= max_depth", "> max_depth")),
    redis(
        "tasks on the schedule do not fill a queue",
        "lua/_queues.lua",
        (
            "ready_before[queue] + schedule_before[queue] + counted(queue, 'ready') + counted(queue, 'schedule')",
            "ready_before[queue] + counted(queue, 'ready')",
        ),
    ),
    redis(
        "tasks of the call itself do not fill a queue",
        "lua/_queues.lua",
        (" + counted(queue, 'ready') + counted(queue, 'schedule')", ""),
    ),
    redis(
        "a new task is not watched",
        "lua/submit_tasks.lua",
        ("if change.is_watched then change.waiters = REPLICA end", ""),
    ),
    redis(
        "a task that exists is not watched",
        "lua/submit_tasks.lua",
        ("if change.is_watched then watch(task, false) end", ""),
    ),
    redis("a purge tells nobody", "lua/purge_queue.lua", ("cursor, change_lines(), ", "cursor, {}, ")),
    redis(
        "a queue is not known for having a task", "lua/_queues.lua", ("if not is_known[queue] then", "if false then")
    ),
    redis(
        "an audit misses what no index holds",
        "lua/audit_tasks.lua",
        ("elseif is_there and not score then", "elseif false then"),
    ),
    redis(
        "an audit misses a lost deadline",
        "lua/audit_tasks.lua",
        ("if deadline_ms == score then return end", "if deadline_ms == score or not score then return end"),
    ),
    redis(
        "an audit misses a ready task that no list holds", "lua/audit_tasks.lua", ("if is_lost then", "if false then")
    ),
    redis(
        "no other process is told of a drain",
        "operator_calls.py",
        ("        await self._ask(self._presence.drain(worker_id))\n", ""),
    ),
    redis(
        "this process is not told of a drain", "operator_calls.py", ("self._tell([DrainRequested(worker_id)])", "pass")
    ),
)
