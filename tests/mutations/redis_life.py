"""The Redis store does something wrong in the life of a task."""

from tests.mutations.mutation import redis

LIFE = (
    redis("any token holds a lease", "lua/_rules.lua", (" and task.lease_token == token", "")),
    redis(
        "a lease is held wherever the task stands",
        "lua/_rules.lua",
        ("task.place == 'lease' and ", ""),
    ),
    redis(
        "a lost lease is not counted",
        "lua/_rules.lua",
        ("{lost_leases = task.lost_leases + 1, releases = 0}", "{releases = 0}"),
    ),
    redis(
        "the loss that should be final is not",
        "lua/_rules.lua",
        ("task.lost_leases >= task.max_lost_leases", "task.lost_leases > task.max_lost_leases"),
    ),
    redis("the head of a queue is its tail", "lua/_rules.lua", ("'ready', to_head", "'ready', false")),
    redis(
        "a success keeps its input",
        "lua/_rules.lua",
        ("if state ~= 'SUCCESS' then bytes = call('STRLEN', name) end", "bytes = call('STRLEN', name)"),
    ),
    redis("a result is kept unasked", "lua/_rules.lua", ("outcome = task.result_ttl_ms > 0 and outcome", "")),
    redis(
        "an expired record is still read",
        "lua/_fetching.lua",
        ("task and not (task.expire_ms and task.expire_ms <= NOW)", "task"),
    ),
    redis("the revision stands still", "lua/_prelude.lua", ("task.revision + 1", "math.max(task.revision, 1)")),
    redis(
        "the second of two equal ids does not see the first",
        "lua/_fetching.lua",
        ("  tasks[task_id] = task\n  return task", "  return task"),
    ),
    redis("no other process is told", "lua/_telling.lua", ("in pairs(messages)", "in pairs({})")),
    redis(
        "an id that comes back stays among those that are done",
        "lua/submit_tasks.lua",
        ("over and over.index", "false"),
    ),
    redis(
        "an empty level stays marked",
        "lua/_indexes.lua",
        ("if call('LLEN', list) == 0 then", "if false then"),
    ),
    redis(
        "no other process is woken",
        "lua/_queues.lua",
        ("if ready_before[queue] <= 0 and ready_of(queue) > 0 and", "if false and"),
    ),
    redis(
        "the last of several at the head is foremost",
        "lua/_indexes.lua",
        ("pushes[#pushes + 1 - i]", "pushes[i]"),
    ),
    redis(
        "a task that moved stays in its old index",
        "lua/_indexes.lua",
        ("local left = task.index ~= task.place and", "local left = false and"),
    ),
    redis(
        "another request under the same id passes for the same",
        "lua/submit_tasks.lua",
        ("task.fingerprint ~= fingerprint and not change.return_existing", "false"),
    ),
    redis(
        "a replica that waits is not noted down",
        "lua/_waiting.lua",
        ("if waiters then transition", "if false then transition"),
    ),
    redis(
        "deliveries are not numbered",
        "lua/lease_tasks.lua",
        ("task.delivery_count + 1", "1"),
    ),
    redis("the lowest priority goes first", "lua/lease_tasks.lua", ("level = 9, 0, -1", "level = 0, 9")),
    redis("a call delivers without end", "lua/lease_tasks.lua", (" or bytes >= max_bytes", "")),
    redis(
        "every beat starts an attempt",
        "lua/beat_leases.lua",
        ("  if task.state == 'STARTED' then\n", "  if false then\n"),
    ),
    redis(
        "a waiting beat starts the attempt",
        "lua/beat_leases.lua",
        ("elseif is_waiting then", "elseif false then"),
    ),
    redis(
        "what takes the beats is not who hears of the lease",
        "lua/beat_leases.lua",
        ("if task.holder ~= REPLICA then", "if false then"),
    ),
    redis(
        "a beat hides that the task was revoked",
        "lua/beat_leases.lua",
        ("is_held and revocation_of(task) or false", "false"),
    ),
    redis("a request ends what runs", "lua/revoke_tasks.lua", ("task.state ~= 'STARTED' or is_forced", "true")),
    redis("force is a request", "lua/revoke_tasks.lua", (" or is_forced then", " then")),
    redis(
        "a second request overrides the first",
        "lua/revoke_tasks.lua",
        ("elseif not task.has_revocation then", "else"),
    ),
    redis(
        "a task that is done is revoked",
        "lua/revoke_tasks.lua",
        ("task and not IS_DONE[task.state]", "task"),
    ),
    redis(
        "a lost lease of a revoked task is tried again",
        "lua/reap_leases.lua",
        ("if task.has_revocation then\n      end_revoked", "if false then\n      end_revoked"),
    ),
    redis(
        "a revoked task that was released is run again",
        "lua/release_leases.lua",
        ("if task.has_revocation then return end_revoked(task) end", ""),
    ),
    redis(
        "a revoked task that failed is tried again",
        "lua/store_results.lua",
        ("task.has_revocation and state ~= 'SUCCESS'", "false"),
    ),
    redis(
        "a revoked task cannot succeed",
        "lua/store_results.lua",
        ("task.has_revocation and state ~= 'SUCCESS'", "task.has_revocation"),
    ),
    redis("what was left behind stays in front", "lua/_commit.lua", ("  drop_left()\n", "")),
    redis(
        "an id that comes back takes the place that it left",
        "lua/lease_tasks.lua",
        ("not was_left(task_id, queue, level) and find(task_id)", "find(task_id)"),
    ),
    redis(
        "a queue with nothing but revoked tasks counts as not empty",
        "lua/lease_tasks.lua",
        ("if ready_of(ARGV[i]) > 0 and", "if masks[ARGV[i]] ~= 0 and"),
    ),
    redis(
        "a result that comes twice is refused",
        "lua/store_results.lua",
        ("task.ended_state and task.ended_token == token", "false"),
    ),
    redis(
        "one attempt more than the policy allows",
        "lua/_retrying.lua",
        ("task.failed_attempts >= policy.max_attempts", "task.failed_attempts > policy.max_attempts"),
    ),
    redis(
        "types that are not to be retried are retried",
        "lua/_retrying.lua",
        ("if one == failure_type then return false end", ""),
    ),
    redis(
        "an attempt that failed does not end a row of lost leases",
        "lua/_retrying.lua",
        (", lost_leases = 0, releases = 0}", "}"),
    ),
    redis(
        "a release uses up an attempt",
        "lua/release_leases.lua",
        ("(was_started and 1 or 0)", "0"),
    ),
    redis(
        "no time to come back after an outage",
        "lua/reap_leases.lua",
        ("local is_grace = NOW < grace_until", "local is_grace = false"),
    ),
    redis(
        "leases are reaped before their time",
        "lua/reap_leases.lua",
        ("'-inf', NOW, 'LIMIT'", "'-inf', '+inf', 'LIMIT'"),
    ),
    redis("a delay ends early", "lua/promote_due.lua", ("'-inf', NOW, 'LIMIT'", "'-inf', '+inf', 'LIMIT'")),
    redis("records go early", "lua/expire_done.lua", ("'-inf', NOW, 'LIMIT'", "'-inf', '+inf', 'LIMIT'")),
    redis(
        "those who wait in this process are not told",
        "engine.py",
        ("        self._tell(reply.changes)\n", ""),
    ),
    redis(
        "those who wait are not told of a doubt",
        "engine.py",
        ("            if error.may_have_run:\n                self._tell(_doubts(in_doubt))\n", ""),
    ),
    redis(
        "a caller who goes away takes the call along",
        "engine.py",
        ("await asyncio.shield(call)", "await call"),
    ),
    redis(
        "a subscription that was lost is not announced",
        "notifications.py",
        ("            await self._announce_break()\n", "            pass\n"),
    ),
    redis(
        "a process hears of its own changes from Redis",
        "notifications.py",
        ("if origin != self._replica_id:", "if origin:"),
        ('origin, changes = "", [EpochBreak()]', 'origin, changes = "?", [EpochBreak()]'),
    ),
    redis(
        "scripts that Redis forgot are not loaded again",
        "scripts.py",
        ("except NoScriptError:", "except ZeroDivisionError:"),
    ),
    redis(
        "a call that broke passes for one that was not executed",
        "errors.py",
        ('"cannot be reached", may_have_run=was_sent)', '"cannot be reached", may_have_run=False)'),
    ),
    redis(
        "transition: what began is told as long as it was ready before",
        "lua/_rules.lua",
        ("NOW - (task.due_ms or task.update_ms), 0", "NOW - task.update_ms, 0"),
    ),
    redis(
        "transition: a lease that ended with another attempt to come is not told",
        "lua/_counting.lua",
        (" or task.old_place == 'lease' and task.place ~= 'lease'", ""),
    ),
    redis(
        "transition: the failure before a retry is not told",
        "lua/_rules.lua",
        ("  task.failure_kind = failure_kind_of(failure)\n  put(task, 'f', failure)", "  put(task, 'f', failure)"),
    ),
    redis("transition: a purge tells of no ends", "lua/purge_queue.lua", ("began_parts, ended_parts}", "{}, {}}")),
)
