"""Ways to break what operators see and do in Redis; see ``mutations.mutation``."""

from tests.mutations.mutation import REDIS, Edit, Mutation


def _redis(what: str, file: str, old: str, new: str) -> Mutation:
    return Mutation(what=what, store="redis", edits=(Edit(file=f"{REDIS}/lua/{file}.lua", old=old, new=new),))


OPERATOR_MUTATIONS: tuple[Mutation, ...] = (
    _redis("payloads of a listing have no end", "_details", "detail_bytes = detail_bytes +", "local _ ="),
    _redis("what was left out is not said", "_details", "(with_payloads or not has_more(task))", "true"),
    _redis(
        "a task without payloads is never whole",
        "_details",
        "(with_payloads or not has_more(task))",
        "with_payloads",
    ),
    _redis("long worker ids are cut", "_details", "task.worker_id .. task.worker_id_rest", "task.worker_id"),
    _redis(
        "every task has a lease",
        "_details",
        "task.place == 'lease' and call('ZSCORE'",
        "call('ZSCORE'",
    ),
    _redis(
        "a walk through a list keeps no place",
        "list_tasks",
        "math.max((position or taken) - taken, 0)",
        "position or 0",
    ),
    _redis(
        "what was left behind is listed",
        "list_tasks",
        " and not is_left(name, task, index)",
        "",
    ),
    _redis("done ones come earliest first", "list_tasks", "place == 'done', place", "false, place"),
    _redis("the record has no say in what is listed", "list_tasks", "task and task.place == place and", "task and"),
    _redis("a walk ends where the queues of one call do", "list_tasks", "return cursor, #queues == MAX_QUEUES", ""),
    _redis("a list is walked without end", "list_tasks", "return looked_at >= limit or detail", "return detail"),
    _redis(
        "a walk begins anew behind an entry that has gone",
        "_walking",
        "other_score == score and is_before(other, id)",
        "false",
    ),
    _redis("the entry that a walk came to comes again", "_walking", "[1] == id and rank + 1 or rank", "[1] and rank"),
    _redis("what comes to a head is not counted", "_indexes", "add_taken(last.queue, last.priority, -1)", ""),
    _redis("what leaves a head is not counted", "_indexes", "add_taken(pop.queue, pop.level, pop.count)", ""),
    _redis("tasks that are not done can be deleted", "delete_tasks", "task.place == 'done'", "task"),
    _redis("a deleted task is unknown to nobody", "delete_tasks", "task.place ~= 'gone' and 0", "0"),
    _redis("only one level is looked at for the oldest", "_stats", "for level = 9, 0, -1", "for level = 0, 0"),
    _redis("the youngest counts as the oldest", "_stats", "math.min(oldest_ms or NOW", "math.max(oldest_ms or 0"),
    _redis(
        "what was left behind is the oldest",
        "_stats",
        "not was_left(task_id, queue, level) and find(task_id)\n      if task and task.place == 'ready' and",
        "fetch(task_id)\n      if task and",
    ),
    _redis("only one entry is passed over", "_stats", "index >= MAX_PASSED_OVER", "index > 1"),
    _redis("the queue asked after comes again", "list_queues", "'(' .. ARGV[4]", "'[' .. ARGV[4]"),
    _redis("a queue cannot be resumed", "pause_queue", "call('HDEL', queue_key(queue), 'paused')", ""),
    _redis("a queue without tasks cannot be seen to be paused", "pause_queue", "call('ZADD', KEYS[6], 0, queue)", ""),
    _redis("a resumed queue stays silent elsewhere", "pause_queue", "if is_ready then call(", "if false then call("),
    _redis("a resumed queue stays silent here", "pause_queue", "is_ready and {queue} or {}", "{}"),
    _redis("a purge takes other queues along", "purge_queue", "elseif task.queue == queue then", "else"),
    _redis(
        "a purge forgets the schedule",
        "purge_queue",
        "if not is_enough() then cursor =",
        "cursor = '' if false then cursor =",
    ),
    _redis("a purge knows no limit", "purge_queue", "return looked_at >= limit or purged", "return purged"),
    _redis("a purge counts entries twice as left", "purge_queue", "task.is_drawn = true", ""),
    _redis("a purge leaves stale entries", "purge_queue", "table.insert(stale.schedule, entries[i])", ""),
    _redis(
        "a purge never ends early", "purge_queue", " or counted(queue, 'schedule') + schedule_before[queue] <= 0", ""
    ),
    _redis("a lost lease is over at once", "audit_tasks", "return NOW + (task.state", "return NOW + 0 * (task.state"),
    _redis(
        "a lost delivery gets a whole lease",
        "audit_tasks",
        "task.state == 'STARTED' and task.lease_ms or DELIVERY_LEASE_MS",
        "task.lease_ms",
    ),
    _redis("a wrong expiry stays", "audit_tasks", "and score ~= task.expire_ms", "and false"),
    _redis("extra entries stay", "audit_tasks", "append(stale, place, task.id)", ""),
    _redis("wrong deadlines stay", "audit_tasks", "transition(task, {deadline_ms = score})", ""),
    _redis("what was left behind counts as there", "audit_tasks", "left_of(task.id, queue, level) + 1", "1"),
    _redis("long lists are searched", "audit_tasks", "call('LLEN', name) <= MAX_SEARCHED\n    and not", "not"),
    _redis("a mended mask is not written", "audit_tasks", "    masks[queue] = bit.bor(mask, bit_of_level)\n", ""),
    _redis(
        "a paused queue is delivered from when mended",
        "audit_tasks",
        "if not is_paused(queue) then delivering",
        "if true then delivering",
    ),
    _redis(
        "nobody elsewhere hears of a mended queue",
        "audit_tasks",
        "  call('PUBLISH', CHANNELS .. 'w', queue .. ' ' .. REPLICA)\n",
        "",
    ),
    _redis("a queue that nobody knows stays so", "audit_tasks", "is_known[queue] = false", ""),
)
