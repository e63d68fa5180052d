"""Ways to break the stores on purpose, each of which some test has to notice."""

from dataclasses import dataclass

SERVER = "tailrace/server"
REDIS = f"{SERVER}/store/redis"
LEASE, TASK, RETRY = "domain/lease.py", "domain/task.py", "domain/retry.py"
SQLITE = "store/sqlite"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A piece of text that occurs once in a file, and what takes its place."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """One thing done wrong."""

    what: str
    store: str
    """Which store it breaks; the rules in ``domain`` are applied by SQLite, and restated in Lua."""
    edits: tuple[Edit, ...]


def _redis(what: str, file: str, *replacements: tuple[str, str]) -> Mutation:
    edits = tuple(Edit(file=f"{REDIS}/{file}", old=old, new=new) for old, new in replacements)
    return Mutation(what=what, store="redis", edits=edits)


def _sqlite(what: str, *replacements: tuple[str, str, str]) -> Mutation:
    edits = tuple(Edit(file=f"{SERVER}/{file}", old=old, new=new) for file, old, new in replacements)
    return Mutation(what=what, store="sqlite", edits=edits)


REDIS_MUTATIONS = (
    _redis("any token holds a lease", "lua/_rules.lua", (" and task.lease_token == token", "")),
    _redis(
        "a lease is held wherever the task stands",
        "lua/_rules.lua",
        ("task.place == 'lease' and ", ""),
    ),
    _redis(
        "a lost lease is not counted",
        "lua/_rules.lua",
        ("{lost_leases = task.lost_leases + 1, releases = 0}", "{releases = 0}"),
    ),
    _redis(
        "the loss that should be final is not",
        "lua/_rules.lua",
        ("task.lost_leases >= task.max_lost_leases", "task.lost_leases > task.max_lost_leases"),
    ),
    _redis("the head of a queue is its tail", "lua/_rules.lua", ("'ready', to_head", "'ready', false")),
    _redis("a success keeps its input", "lua/_rules.lua", ("task.head_bytes - 1) or ''", "-1) or ''")),
    _redis("a result is kept unasked", "lua/_rules.lua", ("outcome = keeps_result and outcome", "")),
    _redis(
        "an expired record is still read",
        "lua/_prelude.lua",
        ("task and not (task.expire_ms and task.expire_ms <= NOW)", "task"),
    ),
    _redis("the revision stands still", "lua/_prelude.lua", ("task.revision + 1", "math.max(task.revision, 1)")),
    _redis(
        "the second of two equal ids does not see the first",
        "lua/_prelude.lua",
        ("  tasks[task_id] = task\n  return task", "  return task"),
    ),
    _redis("no other process is told", "lua/_commit.lua", ("in pairs(messages)", "in pairs({})")),
    _redis(
        "keys of a task that is done have no time to live",
        "lua/_commit.lua",
        ("local ttl = task.expire_ms and", "local ttl = false and"),
    ),
    _redis(
        "an id that is free again brings back the old task",
        "lua/_commit.lua",
        ("if task.index then unlink(task, 't', 'r', 'f', 'n', 'v') end", ""),
    ),
    _redis(
        "an empty level stays marked",
        "lua/_indexes.lua",
        ("if call('LLEN', list) == 0 then", "if false then"),
    ),
    _redis(
        "no other process is woken",
        "lua/_indexes.lua",
        ("if ready_before[queue] <= 0 and ready_of(queue) > 0 then", "if false then"),
    ),
    _redis(
        "the last of several at the head is foremost",
        "lua/_indexes.lua",
        ("pushes[#pushes + 1 - i]", "pushes[i]"),
    ),
    _redis(
        "a task that moved stays in its old index",
        "lua/_indexes.lua",
        ("local left = task.index ~= task.place and", "local left = false and"),
    ),
    _redis(
        "another request under the same id passes for the same",
        "lua/submit_tasks.lua",
        ("task.fingerprint == fingerprint or change.return_existing", "true"),
    ),
    _redis(
        "a replica that waits is not noted down",
        "lua/register_waits.lua",
        ("if waiters then transition", "if false then transition"),
    ),
    _redis(
        "deliveries are not numbered",
        "lua/lease_tasks.lua",
        ("task.delivery_count + 1", "1"),
    ),
    _redis("the lowest priority goes first", "lua/lease_tasks.lua", ("level = 9, 0, -1", "level = 0, 9")),
    _redis("a call delivers without end", "lua/lease_tasks.lua", (" or bytes >= max_bytes", "")),
    _redis(
        "every beat starts an attempt",
        "lua/beat_leases.lua",
        ("if is_held and task.state == 'STARTED' then", "if false then"),
    ),
    _redis(
        "a waiting beat starts the attempt",
        "lua/beat_leases.lua",
        ("elseif is_held and ARGV[i + 2] == '1' then", "elseif false then"),
    ),
    _redis(
        "what takes the beats is not who hears of the lease",
        "lua/beat_leases.lua",
        ("if is_held and task.holder ~= REPLICA then", "if false then"),
    ),
    _redis(
        "a beat hides that the task was revoked",
        "lua/beat_leases.lua",
        ("is_held and revocation_of(task) or false", "false"),
    ),
    _redis("a request ends what runs", "lua/revoke_tasks.lua", ("task.state ~= 'STARTED' or is_forced", "true")),
    _redis("force is a request", "lua/revoke_tasks.lua", (" or is_forced then", " then")),
    _redis(
        "a second request overrides the first",
        "lua/revoke_tasks.lua",
        ("elseif not task.has_revocation then", "else"),
    ),
    _redis(
        "a task that is done is revoked",
        "lua/revoke_tasks.lua",
        ("task and not IS_DONE[task.state]", "task"),
    ),
    _redis(
        "a lost lease of a revoked task is tried again",
        "lua/reap_leases.lua",
        ("if task.has_revocation then\n      end_revoked", "if false then\n      end_revoked"),
    ),
    _redis(
        "a revoked task that was released is run again",
        "lua/release_leases.lua",
        ("if task.has_revocation then return end_revoked(task) end", ""),
    ),
    _redis(
        "a revoked task that failed is tried again",
        "lua/store_results.lua",
        ("task.has_revocation and state ~= 'SUCCESS'", "false"),
    ),
    _redis(
        "a revoked task cannot succeed",
        "lua/store_results.lua",
        ("task.has_revocation and state ~= 'SUCCESS'", "task.has_revocation"),
    ),
    _redis(
        "an id that comes back takes the place that it left",
        "lua/lease_tasks.lua",
        ("not was_left(task_id, queue, level) and find(task_id)", "find(task_id)"),
    ),
    _redis(
        "a queue with nothing but revoked tasks counts as not empty",
        "lua/lease_tasks.lua",
        ("if ready_of(ARGV[i]) > 0 then", "if masks[ARGV[i]] ~= 0 then"),
    ),
    _redis(
        "a result that comes twice is refused",
        "lua/store_results.lua",
        ("task.ended_state and task.ended_token == token", "false"),
    ),
    _redis(
        "one attempt more than the policy allows",
        "lua/store_results.lua",
        ("task.failed_attempts >= policy.max_attempts", "task.failed_attempts > policy.max_attempts"),
    ),
    _redis(
        "types that are not to be retried are retried",
        "lua/store_results.lua",
        ("if one == failure_type then return false end", ""),
    ),
    _redis(
        "an attempt that failed does not end a row of lost leases",
        "lua/store_results.lua",
        (", lost_leases = 0, releases = 0}", "}"),
    ),
    _redis(
        "a release uses up an attempt",
        "lua/release_leases.lua",
        ("(was_started and 1 or 0)", "0"),
    ),
    _redis(
        "no time to come back after an outage",
        "lua/reap_leases.lua",
        ("local is_grace = NOW < grace_until", "local is_grace = false"),
    ),
    _redis(
        "leases are reaped before their time",
        "lua/reap_leases.lua",
        ("'-inf', NOW, 'LIMIT'", "'-inf', '+inf', 'LIMIT'"),
    ),
    _redis("a delay ends early", "lua/promote_due.lua", ("'-inf', NOW, 'LIMIT'", "'-inf', '+inf', 'LIMIT'")),
    _redis("records go early", "lua/expire_done.lua", ("'-inf', NOW, 'LIMIT'", "'-inf', '+inf', 'LIMIT'")),
    _redis(
        "those who wait in this process are not told",
        "store.py",
        ("        self._tell(reply.changes)\n", ""),
    ),
    _redis(
        "those who wait are not told of a doubt",
        "store.py",
        ("            if error.may_have_run:\n                self._tell(_doubts(in_doubt))\n", ""),
    ),
    _redis(
        "a caller who goes away takes the call along",
        "store.py",
        ("await asyncio.shield(call)", "await call"),
    ),
    _redis(
        "a subscription that was lost is not announced",
        "notifications.py",
        ("            self._on_change(EpochBreak())\n        self._has", "            pass\n        self._has"),
    ),
    _redis(
        "a process hears of its own changes from Redis",
        "notifications.py",
        ("if origin != self._replica_id:", "if origin:"),
        ('origin, changes = "", [EpochBreak()]', 'origin, changes = "?", [EpochBreak()]'),
    ),
    _redis(
        "scripts that Redis forgot are not loaded again",
        "scripts.py",
        ("except NoScriptError:", "except ZeroDivisionError:"),
    ),
    _redis(
        "a call that broke passes for one that was not executed",
        "errors.py",
        ('"cannot be reached", may_have_run=was_sent)', '"cannot be reached", may_have_run=False)'),
    ),
)

SQLITE_MUTATIONS = (
    _sqlite("any token holds a lease", (LEASE, " and record.lease_token == token", "")),
    _sqlite(
        "a lease is held wherever the task stands",
        (LEASE, "record.place is Place.LEASE and ", ""),
        (
            TASK,
            "now_ms + delay_ms if delayed else None,\n        lease_token=None,",
            "now_ms + delay_ms if delayed else None,",
        ),
        (TASK, "due_ms=None,\n        lease_token=None,", "due_ms=None,"),
    ),
    _sqlite(
        "a result that comes twice is refused",
        (LEASE, "record.ended_state is not None and record.ended_token == end.lease_token", "False"),
    ),
    _sqlite(
        "a lost lease is not counted",
        (
            LEASE,
            "end_revoked(record, now_ms=now_ms)\n    lost = replace(record, lost_leases=record.lost_leases + 1",
            "end_revoked(record, now_ms=now_ms)\n    lost = replace(record",
        ),
    ),
    _sqlite(
        "an attempt that failed does not end a row of lost leases",
        (
            LEASE,
            "failed_attempts=record.failed_attempts + 1, lost_leases=0,",
            "failed_attempts=record.failed_attempts + 1,",
        ),
    ),
    _sqlite("a request ends what runs", (TASK, "record.state is TaskState.STARTED and not is_forced", "False")),
    _sqlite("force is a request", (TASK, "TaskState.STARTED and not is_forced", "TaskState.STARTED")),
    _sqlite("a second request overrides the first", (TASK, "record if record.revocation is not None else ", "")),
    _sqlite(
        "a task that is done is revoked",
        (TASK, "if record.state.is_done:\n        return record", "if False:\n        return record"),
    ),
    _sqlite(
        "a revoked task that failed is tried again",
        (LEASE, "if record.revocation is not None and end", "if False and end"),
    ),
    _sqlite(
        "a revoked task cannot succeed",
        (
            LEASE,
            "record.revocation is not None and end.state is not TaskState.SUCCESS",
            "record.revocation is not None",
        ),
    ),
    _sqlite(
        "a lost lease of a revoked task is tried again",
        (
            LEASE,
            "if record.revocation is not None:\n        return end_revoked(record",
            "if False:\n        return end_revoked(record",
        ),
    ),
    _sqlite(
        "a revoked task that was released is run again",
        (
            LEASE,
            "if record.revocation is not None:\n        return end_revoked(back",
            "if False:\n        return end_revoked(back",
        ),
    ),
    _sqlite(
        "the holder of a lease is not told",
        (f"{SQLITE}/operations.py", "records.tell_holder(record, revoked)", "pass"),
    ),
    _sqlite("a release uses up an attempt", (LEASE, "(1 if was_started else 0)", "0")),
    _sqlite("deliveries are not numbered", (LEASE, "record.delivery_count + 1", "1")),
    _sqlite(
        "every beat starts an attempt",
        (LEASE, "        return None\n    if record.state is TaskState.STARTED:", "        return None\n    if False:"),
    ),
    _sqlite(
        "one attempt more than the policy allows",
        (RETRY, "failed_attempts < self.max_", "failed_attempts <= self.max_"),
    ),
    _sqlite(
        "types that are not to be retried are retried", (RETRY, " and failure_type not in self.non_retryable_types", "")
    ),
    _sqlite("a success keeps its input", (TASK, "record.request[: record.head_bytes] if succeeded else ", "")),
    _sqlite("a result is kept unasked", (TASK, "result=result if keeps_result else None", "result=result")),
    _sqlite(
        "an expired record is still read",
        (f"{SQLITE}/records.py", "if not row.record.is_expired(self.now_ms):", "if row.record:"),
    ),
    _sqlite(
        "those who wait are not told",
        (f"{SQLITE}/records.py", "        for record in revised:\n            self.tell(record)\n", ""),
    ),
    _sqlite(
        "the head of a queue is its tail",
        (f"{SQLITE}/records.py", "self._pushes[record.task_id] = to_head", "self._pushes[record.task_id] = False"),
    ),
    _sqlite(
        "those who wait are not told of a doubt",
        (f"{SQLITE}/writer.py", "operation.doubts if operation.done is None", "() if operation.done is None"),
    ),
    _sqlite(
        "another request under the same id passes for the same",
        (f"{SQLITE}/operations.py", "existing.fingerprint == submission.fingerprint", "True"),
    ),
    _sqlite(
        "a call delivers without end",
        (f"{SQLITE}/operations.py", "if size_bytes >= MAX_CALL_BYTES:", "if False:"),
    ),
    _sqlite(
        "the lowest priority goes first",
        (f"{SQLITE}/statements.py", "ORDER BY priority DESC, position", "ORDER BY priority, position"),
    ),
    _sqlite(
        "no time to come back after an outage",
        (f"{SQLITE}/duties.py", "return max(0, grace_until_ms - records.now_ms)", "return 0"),
    ),
    _sqlite(
        "leases are reaped before their time",
        (
            f"{SQLITE}/statements.py",
            "place = 'lease' AND lease_expire_ms <= ?",
            "place = 'lease' AND lease_expire_ms <= ? + 9999999",
        ),
    ),
    _sqlite(
        "a delay ends early",
        (
            f"{SQLITE}/statements.py",
            "place = 'schedule' AND due_ms <= ?",
            "place = 'schedule' AND due_ms <= ? + 9999999",
        ),
    ),
    _sqlite(
        "records go early",
        (f"{SQLITE}/statements.py", "place = 'done' AND expire_ms <= ?", "place = 'done' AND expire_ms <= ? + 9999999"),
    ),
)
