"""The boards: what each panel asks Prometheus, and what it says to people.

A query may use $job (a variable of every board), $__rate_interval and $__range. A panel that may have no answer in a healthy
cluster says why in `empty`; every other one must have one in the test.
"""

from dataclasses import dataclass, field

def matcher(label, value):
    """`code="OK"`; a value may begin with another operator than `=`, such as `!=OK`."""
    for operator in ("=~", "!~", "!="):
        if value.startswith(operator):
            return f'{label}{operator}"{value[2:]}"'
    return f'{label}="{value}"'


def of(name, **labels):
    """A selector of this job's series."""
    matchers = [matcher(label, value) for label, value in labels.items()]
    return name + "{" + ",".join(['job="$job"'] + matchers) + "}"


def rate(name, **labels):
    return f"rate({of(name, **labels)}[$__rate_interval])"


def quantile(q, name, by, **labels):
    """A quantile of a histogram: by labels, separated by commas."""
    by = ", ".join(part for part in ("le", by) if part)
    # The comparison leaves out what nothing was observed of.
    return f"histogram_quantile({q}, sum by ({by}) ({rate(name + '_bucket', **labels)})) >= 0"


@dataclass
class Panel:
    title: str
    help: str
    queries: list  # of (expression, legend)
    kind: str = "timeseries"  # or stat, bargauge, table
    unit: str = "short"
    width: int = 8
    height: int = 7
    # (value, colour) from the lowest on; the first value is None.
    steps: list = None
    stacked: bool = False
    top: float = None  # the largest value of the axis
    empty: str = ""  # why there may be no answer in a healthy cluster
    decimals: int = None


@dataclass
class Row:
    title: str
    panels: list = field(default_factory=list)


@dataclass
class Board:
    uid: str
    title: str
    about: str
    rows: list


GOOD_IS_ZERO = [(None, "green"), (1, "red")]
WARN_FROM_ONE = [(None, "green"), (1, "orange")]
GOOD_IS_ONE = [(None, "red"), (1, "green")]
FILL = [(None, "green"), (0.7, "orange"), (0.85, "red")]


def stat(title, help, query, unit="short", steps=None, **more):
    more.setdefault("width", 4)
    more.setdefault("height", 4)
    return Panel(title, help, [(query, title)], kind="stat", unit=unit, steps=steps or [(None, "blue")], **more)


UNDER_PROTECTED = f"sum({of('marram_group_under_protected_objects')})"
REPAIRS = f"sum({of('marram_group_repairs_waiting')})"
LEADERLESS = f"count(sum by (group) ({of('marram_raft_role', role='leader')}) == 0) or vector(0)"
USED = f"sum({of('marram_drive_capacity_bytes')} - {of('marram_drive_free_bytes')})"
CAPACITY = f"sum({of('marram_drive_capacity_bytes')})"
FILL_OF_DRIVE = f"1 - {of('marram_drive_free_bytes')} / {of('marram_drive_capacity_bytes')}"
FAILED = '=~INTERNAL|UNAVAILABLE|UNKNOWN|DATA_LOSS|DEADLINE_EXCEEDED'
GROWTH = f"deriv((sum({of('marram_drive_record_bytes')}))[6h:5m])"
# Writes stop at nine tenths.
LEFT = f"clamp_min(sum({of('marram_drive_free_bytes')} - 0.1 * {of('marram_drive_capacity_bytes')}), 0)"

OVERVIEW = Board(
    "marram-overview",
    "Marram / is my data safe?",
    "The first row answers the question, the others say whether callers are served, whether it fills up, and what it is doing.",
    [
        Row("Is the data safe?", [
            stat("Objects below their promise", "Objects with fewer parity shards than their bucket asks for. 0 in a healthy cluster.", UNDER_PROTECTED, steps=GOOD_IS_ZERO),
            stat("Waiting for repair", "Extents whose shards are missing or not where they belong. Falls by itself; a page when it does not for an hour.", REPAIRS, steps=WARN_FROM_ONE),
            stat("Nodes that are dead", "By the word of several peers.", f"max({of('marram_cluster_nodes', health='dead')})", steps=GOOD_IS_ZERO),
            stat("Groups without a leader", "Objects of such a group can be neither read nor written.", LEADERLESS, steps=GOOD_IS_ZERO),
            stat("Drives failed or not there", "Drives that failed, and data folders in which no drive is open.", f"sum({of('marram_drive_state', state='retired')}) + sum({of('marram_drive_folders_waiting')})", steps=GOOD_IS_ZERO),
            stat("Damage found by scrubs", "Runs of shards that were not what was written, by the last passes. They are repaired.", f"sum({of('marram_scrub_found_runs')})", steps=WARN_FROM_ONE),
        ]),
        Row("Are callers served?", [
            stat("Calls that succeed", "Of the last hour; failures are those of the cluster, not of the caller.", f"1 - (sum(rate({of('marram_api_calls_total', code=FAILED)}[1h])) or vector(0)) / sum(rate({of('marram_api_calls_total')}[1h]))", unit="percentunit", steps=[(None, "red"), (0.99, "orange"), (0.999, "green")], decimals=3),
            stat("First byte of a read, p99", "", quantile(0.99, "marram_api_answer_began_seconds", "", method='GetObject'), unit="s", steps=[(None, "green"), (0.5, "orange"), (2, "red")]),
            stat("Write, p99", "Until a write is acknowledged: all of its shards are durable, and its entry on a majority.", quantile(0.99, "marram_api_call_duration_seconds", "", method='PutObject'), unit="s", steps=[(None, "green"), (1, "orange"), (5, "red")]),
            stat("Calls a second", "", f"sum({rate('marram_api_calls_total')})", unit="ops"),
            stat("In", "Bytes of calls to the API a second.", f"sum({rate('marram_api_received_bytes_total')})", unit="Bps"),
            stat("Out", "Bytes of answers of the API a second.", f"sum({rate('marram_api_sent_bytes_total')})", unit="Bps"),
        ]),
        Row("Does it fill up? What is it doing?", [
            stat("Fullest drive", "Writes to a drive stop at 90 %.", f"max({FILL_OF_DRIVE})", unit="percentunit", steps=FILL),
            stat("Used", "Of all drives.", f"{USED} / {CAPACITY}", unit="percentunit", steps=FILL),
            stat("Objects", "", f"sum({of('marram_group_objects')})"),
            stat("Placement groups on the move", "Under way and to go.", f"max({of('marram_cluster_moves_under_way')}) + max({of('marram_cluster_moves_to_go')})"),
            stat("Moves that wait", "For a source or for room.", f"max({of('marram_cluster_moves_stuck')})", steps=WARN_FROM_ONE),
            stat("Paused work", "Garbage collection or scrubs, by an operator.", f"sum(max by (work) ({of('marram_cluster_paused')}))", steps=WARN_FROM_ONE),
        ]),
        Row("The last hours", [
            Panel("What is not as it should be", "Objects below their promise, extents that wait for repair, and objects that were written narrower while nodes were away.", [(UNDER_PROTECTED, "below their promise"), (REPAIRS, "waiting for repair"), (f"sum({of('marram_group_narrowed_objects')})", "narrower, with all of their parity")], width=12),
            Panel("Nodes", "By how they are, by the word of several.", [(f"quantile by (health) (0.5, {of('marram_cluster_nodes')})", "{{health}}")], width=12, stacked=True),
            Panel("Throughput", "Of the API.", [(f"sum({rate('marram_api_received_bytes_total')})", "in"), (f"sum({rate('marram_api_sent_bytes_total')})", "out")], unit="Bps", width=12),
            Panel("Latency", "Reads until the first byte, writes until they are acknowledged.", [
                (quantile(0.5, "marram_api_answer_began_seconds", "", method='GetObject'), "read p50"),
                (quantile(0.99, "marram_api_answer_began_seconds", "", method='GetObject'), "read p99"),
                (quantile(0.5, "marram_api_call_duration_seconds", "", method='PutObject'), "write p50"),
                (quantile(0.99, "marram_api_call_duration_seconds", "", method='PutObject'), "write p99"),
            ], unit="s", width=12),
        ]),
    ],
)

REDUNDANCY = Board(
    "marram-redundancy",
    "Marram / redundancy and repair",
    "What is not where it should be, what is done about it, and what scrubs find.",
    [
        Row("What is missing", [
            Panel("Objects below their promise, by group", "Repaired first.", [(f"sum by (group) ({of('marram_group_under_protected_objects')})", "group {{group}}")]),
            Panel("Extents waiting for repair, by group", "Counted up to 10,000 in each group.", [(f"sum by (group) ({of('marram_group_repairs_waiting')})", "group {{group}}")], stacked=True),
            Panel("Extents with lost shards, by how many more losses they survive", "The fewest are repaired first. `lost` have too few shards left to be read.", [(f"sum by (survives) ({of('marram_group_lacking_extents')})", "survives {{survives}}")], stacked=True),
            Panel("Bytes by how many more losses they survive", "Of the versions in all groups. What lies on a node that does not answer counts as lost only when that is given up: see how many nodes are dead first.", [(f"sum by (survives) ({of('marram_group_version_bytes')}) > 0", "survives {{survives}}")], unit="bytes", stacked=True),
            Panel("Repairs: for how long, and for how long still", "No ticket is older than the first; the second is 0 while it cannot be told.", [(f"max({of('marram_cluster_repairs_waiting_seconds')})", "something has waited for"), (f"max({of('marram_cluster_repairs_left_seconds')})", "done in")], unit="s"),
            Panel("Bytes to make anew, and repaired extents", "Of the shards that are missing; extents a minute.", [(f"sum({of('marram_group_lost_shard_bytes')})", "bytes of lost shards"), (f"max(rate({of('marram_cluster_repaired_extents_total')}[$__rate_interval])) * 60", "repaired extents a minute")]),
            Panel("Narrower than they should be", "Objects with fewer data shards and all of their parity, written while nodes were away; and extents that wait to be encoded anew.", [(f"sum({of('marram_group_narrowed_objects')})", "narrowed objects"), (f"sum({of('marram_group_reencodings_waiting')})", "to be encoded anew")]),
        ]),
        Row("What is on its way", [
            Panel("Moves", "Placement groups.", [(f"max({of('marram_cluster_moves_under_way')})", "under way"), (f"max({of('marram_cluster_moves_to_go')})", "to go"), (f"max({of('marram_cluster_moves_stuck')})", "waiting")]),
            Panel("Slots without a place", "They must leave their drive and no other can take them: add nodes or drives.", [(f"max({of('marram_cluster_slots_unplaced')})", "slots")]),
            Panel("Written by moves and repairs", "", [(f"max({rate('marram_cluster_moved_bytes_total')})", "bytes a second")], unit="Bps", width=8),
            Panel("Shards made anew and moved", "Requests to bring shards to a drive, of peers, by what came of them.", [(f"sum by (result) ({rate('marram_mesh_requests_total', method='restore_shards')})", "{{result}}")], unit="ops", empty="nothing was ever restored in a cluster that lost nothing and did not grow"),
        ]),
        Row("What scrubs find", [
            Panel("Runs that are not what was written", "By the last pass and the one under way, by drive and kind.", [(f"sum by (drive, finding) ({of('marram_scrub_found_runs')}) > 0", "{{drive}} {{finding}}")], empty="no damage was found"),
            Panel("Read of the pass under way", "", [(f"sum by (instance) ({of('marram_scrub_read_bytes')})", "{{instance}}")], unit="bytes"),
            Panel("Time since the last whole pass", "Of the drive that was read longest ago on each node.", [(f"time() - min by (instance) ({of('marram_scrub_last_pass_end_seconds')} > 0)", "{{instance}}")], unit="s", empty="no pass has ended in a new cluster"),
        ]),
        Row("What is removed, and what is compared", [
            Panel("Garbage that waits", "Bytes of shards that nobody needs any more. They wait for those who may still read them.", [(f"sum({of('marram_group_garbage_bytes')})", "garbage")], unit="bytes"),
            Panel("Oldest garbage", "By group. Grows without end when a node that is away keeps it.", [(f"max by (group) ({of('marram_group_garbage_oldest_age_seconds')})", "group {{group}}")], unit="s"),
            Panel("Shards of nobody", "By the last search of each node: removed, and those that have to wait because they may still be committed or read.", [(f"sum({of('marram_garbage_scan_removed_shards')})", "removed"), (f"sum({of('marram_garbage_scan_waiting_shards')})", "waiting")]),
            Panel("Replicas that differ", "Always 0.", [(f"sum({of('marram_raft_replicas_different')})", "replicas")]),
            Panel("Paused", "1 while an operator has paused the work.", [(f"max by (work) ({of('marram_cluster_paused')})", "{{work}}")], top=1),
            stat("Newest backup of the metadata", "How long ago it was begun; nothing where there is none. What it names is kept on the drives for a day, unless it was asked for longer.", f"time() - (max({of('marram_cluster_last_backup_made_seconds')}) > 0)", unit="s", steps=[(None, "green"), (2 * 86400, "orange"), (7 * 86400, "red")], width=8, height=7),
        ]),
    ],
)

PERFORMANCE = Board(
    "marram-performance",
    "Marram / performance",
    "From the caller's side first, then what peers do for it, then what processes have to do it with.",
    [
        Row("Calls of the API", [
            Panel("Calls a second", "By method.", [(f"sum by (method) ({rate('marram_api_calls_total')}) > 0", "{{method}}")], unit="ops", stacked=True),
            Panel("Calls that failed", "By code; those in which the caller was wrong too.", [(f"sum by (code) ({rate('marram_api_calls_total', code='!=OK')})", "{{code}}")], unit="ops", empty="no call failed"),
            Panel("Calls under way", "", [(f"sum by (method) ({of('marram_api_calls_running')}) > 0", "{{method}}")], empty="no call happens to run at the moment of a scrape"),
            Panel("Until the answer begins, p50", "For reads the first byte, whatever the size.", [(quantile(0.5, "marram_api_answer_began_seconds", "method"), "{{method}}")], unit="s"),
            Panel("Until the answer begins, p99", "For reads the first byte, whatever the size.", [(quantile(0.99, "marram_api_answer_began_seconds", "method"), "{{method}}")], unit="s"),
            Panel("Whole calls, p99", "For large objects this depends on their size and on the caller's speed.", [(quantile(0.99, "marram_api_call_duration_seconds", "method"), "{{method}}")], unit="s"),
            Panel("What calls spend their time with, p50", "Of every call who asks and what it may; of writes the begin, the encoding of a window, a drive that makes a shard durable, the entry of the metadata.", [(quantile(0.5, "marram_api_phase_seconds", "phase"), "{{phase}}")], unit="s", width=12),
            Panel("What calls spend their time with, p99", "", [(quantile(0.99, "marram_api_phase_seconds", "phase"), "{{phase}}")], unit="s", width=12),
            Panel("Bytes in", "By node.", [(f"sum by (instance) ({rate('marram_api_received_bytes_total')})", "{{instance}}")], unit="Bps", stacked=True),
            Panel("Bytes out", "By node; large reads come from many nodes at once.", [(f"sum by (instance) ({rate('marram_api_sent_bytes_total')})", "{{instance}}")], unit="Bps", stacked=True),
            Panel("Sizes of objects, median", "", [(quantile(0.5, "marram_api_object_bytes", "direction"), "{{direction}}")], unit="bytes"),
        ]),
        Row("Between the nodes", [
            Panel("Requests of peers, p99", "By what was asked for. Those that wait for news take as long as they may.", [(quantile(0.99, "marram_mesh_request_seconds", "method", method='!~root_view'), "{{method}}")], unit="s"),
            Panel("Bytes between nodes", "Requests received, by class.", [(f"sum by (class) ({rate('marram_mesh_received_bytes_total')})", "{{class}}")], unit="Bps"),
            Panel("Requests that failed", "By why.", [(f"sum by (method, result) ({rate('marram_mesh_requests_total', result='!=ok')}) > 0", "{{method}} {{result}}")], unit="ops", empty="no request of a peer failed"),
            Panel("Connections between nodes", "By class and by who opened them.", [(f"sum by (side, class) ({of('marram_mesh_connections')})", "{{side}} {{class}}")]),
            Panel("Connections between nodes that failed", "By why. `io` and `slow` while a node is away; `tls` and `certificate` want somebody to look.", [(f"sum by (side, reason) ({rate('marram_mesh_handshakes_failed_total')})", "{{side}} {{reason}}")], unit="ops"),
            Panel("Pings", "How long each node takes to answer the others, the slowest pair.", [(f"max by (node) ({of('marram_mesh_ping_seconds')})", "node {{node}}")], unit="s"),
            Panel("Connections", "Of applications, by process.", [(f"sum by (instance) ({of('marram_api_connections')})", "{{instance}}")]),
            Panel("Connections turned away", "Refused because there were too many, and handshakes that failed.", [(f"sum by (instance) ({rate('marram_api_connections_refused_total')})", "{{instance}} refused"), (f"sum by (instance) ({rate('marram_api_handshakes_failed_total')})", "{{instance}} handshakes")], unit="ops"),
        ]),
        Row("Processes", [
            Panel("Processors", "That each process keeps busy.", [(f"{rate('process_cpu_seconds_total')}", "{{instance}}")]),
            Panel("Memory", "", [(f"{of('process_resident_memory_bytes')}", "{{instance}}")], unit="bytes"),
            Panel("Threads of the runtimes", "Part of their time that they were busy.", [(f"{rate('marram_runtime_busy_seconds_total')} / {of('marram_runtime_workers')}", "{{instance}} {{runtime}}")], unit="percentunit", top=1),
            Panel("Lateness of the runtimes, p99", "How late a task runs that wants to. More than some milliseconds: too few processors, or something keeps the threads.", [(quantile(0.99, "marram_runtime_lag_seconds", "instance, runtime"), "{{instance}} {{runtime}}")], unit="s"),
            Panel("Caches: part of what was there", "", [(f"sum by (cache) ({rate('marram_cache_hits_total')}) / (sum by (cache) ({rate('marram_cache_hits_total')}) + sum by (cache) ({rate('marram_cache_misses_total')}) > 0)", "{{cache}}")], unit="percentunit", top=1),
            Panel("Tasks that wait for a thread", "", [(f"sum by (runtime) ({of('marram_runtime_queued_tasks')})", "{{runtime}}")]),
            Panel("Open files", "Of what may be open.", [(f"{of('process_open_fds')} / {of('process_max_fds')}", "{{instance}}")], unit="percentunit"),
            Panel("Ready", "1 while the process is ready.", [(of("marram_ready"), "{{instance}}")], top=1),
        ]),
    ],
)

DRIVES = Board(
    "marram-drives",
    "Marram / drives",
    "Whether one drive is fuller, slower or worse than the others.",
    [
        Row("State and fill", [
            Panel("Fill of each drive", "Writes to a drive stop at 90 %.", [(FILL_OF_DRIVE, "{{instance}} {{drive}}")], kind="bargauge", unit="percentunit", steps=FILL, width=12, top=1),
            Panel("Drives that are not active", "Full, or failed.", [(f"sum by (instance, drive, state) ({of('marram_drive_state', state='!=active')}) > 0", "{{instance}} {{drive}} {{state}}")], width=6, empty="all drives are active"),
            Panel("Shards on each drive", "Runs.", [(of("marram_drive_runs"), "{{instance}} {{drive}}")], width=6),
        ]),
        Row("Speed", [
            Panel("Syncs, p99", "How long a drive takes to make writes durable. One line above the others is a drive that fails.", [(quantile(0.99, "marram_disk_operation_seconds", "instance, disk", operation='sync'), "{{instance}} {{disk}}")], unit="s", width=12),
            Panel("Reads, p99", "Of files; some are answered by the page cache.", [(quantile(0.99, "marram_disk_operation_seconds", "instance, disk", operation='read'), "{{instance}} {{disk}}")], unit="s", width=12),
            Panel("Writes, p99", "Into files, before they are synced.", [(quantile(0.99, "marram_disk_operation_seconds", "instance, disk", operation='write'), "{{instance}} {{disk}}")], unit="s", width=12),
            Panel("Waits to be durable", "Bytes of runs that are written and not synced yet. One line that stays up is a drive that cannot keep up.", [(f"sum by (instance, drive) ({of('marram_drive_queued_bytes')})", "{{instance}} {{drive}}")], unit="bytes", width=12),
            Panel("Runs that share a sync", "By class of runs: more under load, when each sync takes longer.", [(f"sum by (class) ({rate('marram_drive_synced_runs_total')}) / (sum by (class) ({rate('marram_drive_syncs_total')}) > 0)", "{{class}}")], width=12),
            Panel("Syncs a second", "", [(f"sum by (instance, disk) ({rate('marram_disk_operation_seconds_count', operation='sync')})", "{{instance}} {{disk}}")], unit="ops", width=12),
        ]),
        Row("Bytes and errors", [
            Panel("Written", "", [(f"sum by (instance, disk) ({rate('marram_disk_bytes_total', operation='write')})", "{{instance}} {{disk}}")], unit="Bps"),
            Panel("Read", "", [(f"sum by (instance, disk) ({rate('marram_disk_bytes_total', operation='read')})", "{{instance}} {{disk}}")], unit="Bps"),
            Panel("Dead bytes", "Of packed records that nobody needs, in segments of which something is still needed.", [(f"sum by (instance, drive) ({of('marram_drive_dead_bytes')})", "{{instance}} {{drive}}")], unit="bytes"),
            Panel("Errors", "Operations that the system refused. One of a sync retires the drive, or ends the process.", [(f"sum by (instance, disk, operation) (increase({of('marram_disk_errors_total')}[$__rate_interval]))", "{{instance}} {{disk}} {{operation}}")]),
        ]),
    ],
)

CONSENSUS = Board(
    "marram-consensus",
    "Marram / consensus",
    "The metadata groups: who leads, how fast they go, and who is behind.",
    [
        Row("Leaders", [
            Panel("Groups without a leader", "", [(LEADERLESS, "groups")]),
            Panel("Replicas that see a leader, part of all", "By group.", [(f"avg by (group) ({of('marram_raft_has_leader')})", "group {{group}}")], unit="percentunit", top=1),
            Panel("Groups that each node leads", "", [(f"sum by (instance) ({of('marram_raft_role', role='leader')})", "{{instance}}")], stacked=True),
            Panel("Elections", "Terms that passed in an hour, by group. 0 when nothing happens.", [(f"max by (group) (delta({of('marram_raft_term')}[1h]))", "group {{group}}")]),
            Panel("Replicas by role", "", [(f"sum by (role) ({of('marram_raft_role')})", "{{role}}")], stacked=True),
            Panel("Voters", "Of each group; by the cluster's size 1, 3 or 5, or more for wide parity.", [(f"max by (group) ({of('marram_raft_voters')})", "group {{group}}")]),
        ]),
        Row("Entries", [
            Panel("Committed a second", "By group.", [(f"max by (group) (rate({of('marram_raft_committed_index')}[$__rate_interval]))", "group {{group}}")], unit="ops", stacked=True),
            Panel("Proposals, p99", "Until a command is durable on a majority and applied.", [(quantile(0.99, "marram_raft_proposal_seconds", "group"), "group {{group}}")], unit="s"),
            Panel("Proposals by what became of them", "", [(f"sum by (result) ({rate('marram_raft_proposals_total')})", "{{result}}")], unit="ops"),
            Panel("Leaders that changed", "As the replicas saw it, within the last hour, by group.", [(f"max by (group) (increase({of('marram_raft_leader_changes_total')}[1h]))", "group {{group}}")]),
            Panel("Snapshots", "Of states that replicas which are far behind are given as a whole.", [(f"sum by (event) (increase({of('marram_raft_snapshots_total')}[1h]))", "{{event}}")]),
            Panel("Slowest voter", "Entries that it is behind its leader.", [(f"max by (group) ({of('marram_raft_slowest_voter_entries')})", "group {{group}}")]),
            Panel("Committed and not applied", "The most of all replicas, by group.", [(f"max by (group) ({of('marram_raft_committed_index')} - {of('marram_raft_applied_index')})", "group {{group}}")]),
            Panel("Entries that a restart applies again", "Since the last checkpoint.", [(f"max by (group) ({of('marram_raft_applied_index')} - {of('marram_raft_checkpoint_index')})", "group {{group}}")]),
            Panel("Raft's requests, p99", "Between peers.", [(quantile(0.99, "marram_mesh_request_seconds", "method", method='=~raft_.*'), "{{method}}")], unit="s"),
            Panel("Syncs of the log, p99", "A write is acknowledged when a majority has synced its entry.", [(quantile(0.99, "marram_disk_operation_seconds", "instance", operation='sync', disk='metadata'), "{{instance}}")], unit="s"),
        ]),
    ],
)

CAPACITY_BOARD = Board(
    "marram-capacity",
    "Marram / capacity",
    "What there is, what it is used for, and for how long it lasts.",
    [
        Row("Now", [
            stat("Of all drives", "", CAPACITY, unit="bytes"),
            stat("Used", "Of all drives, with all that lies on their file systems.", USED, unit="bytes"),
            stat("Objects together", "Their sizes, without parity and copies.", f"sum({of('marram_group_object_bytes')})", unit="bytes"),
            stat("Bytes stored for a byte", "Shards over objects: parity, copies, headers, and garbage that has to wait.", f"sum({of('marram_drive_record_bytes')}) / sum({of('marram_group_object_bytes')})", decimals=2, empty="there is no object"),
            stat("Room for objects", "What is left until writes stop, at that ratio.", f"{LEFT} / (sum({of('marram_drive_record_bytes')}) / sum({of('marram_group_object_bytes')}))", unit="bytes", empty="there is no object"),
            stat("Full in", "At the growth of the last six hours; nothing where it does not grow.", f"{LEFT} / ({GROWTH} > 0)", unit="s", steps=[(None, "red"), (7 * 86400, "orange"), (30 * 86400, "green")], empty="it does not grow, or is not watched for long enough"),
        ]),
        Row("Growth", [
            Panel("Used, and where it leads", "The dashed line is what is used in 30 days at the growth of the last day.", [(f"sum({of('marram_drive_record_bytes')})", "shards"), (USED, "used"), (f"0.9 * {CAPACITY}", "writes stop"), (f"sum(predict_linear({of('marram_drive_record_bytes')}[1d], 30 * 86400))", "shards in 30 days")], unit="bytes", width=12),
            Panel("Objects", "", [(f"sum({of('marram_group_objects')})", "objects")], width=12),
        ]),
        Row("Where", [
            Panel("Used, by node", "", [(f"sum by (instance) ({of('marram_drive_capacity_bytes')} - {of('marram_drive_free_bytes')})", "{{instance}}")], unit="bytes", stacked=True),
            Panel("Fullest and emptiest drive", "Far apart: something keeps the layout from being balanced.", [(f"max({FILL_OF_DRIVE})", "fullest"), (f"min({FILL_OF_DRIVE})", "emptiest")], unit="percentunit", top=1),
            Panel("Objects by group", "Even, because keys are spread by their hash.", [(f"sum by (group) ({of('marram_group_objects')})", "group {{group}}")], stacked=True),
            Panel("Buckets that hold most", "Objects, versions that are kept and parts of uploads, the ten largest and all others.", [(f"topk(10, sum by (bucket) ({of('marram_bucket_object_bytes')} + {of('marram_bucket_noncurrent_bytes')} + {of('marram_bucket_upload_bytes')}))", "{{bucket}}")], unit="bytes", width=12, empty="names of buckets are told only where `metrics_buckets` is set"),
            Panel("Part of their quota that they hold", "Of the buckets among those that have one in bytes.", [(f"topk(10, sum by (bucket) ({of('marram_bucket_object_bytes')} + {of('marram_bucket_noncurrent_bytes')} + {of('marram_bucket_upload_bytes')}) / sum by (bucket) ({of('marram_bucket_quota_bytes')}))", "{{bucket}}")], unit="percentunit", width=12, top=1, empty="names of buckets are told only where `metrics_buckets` is set, and a quota is had by few"),
        ]),
    ],
)

NO_OPERATOR = "no operator runs outside Kubernetes"
OPERATOR = Board(
    "marram-operator",
    "Marram / operator",
    "What the operator does with clusters on Kubernetes.",
    [
        Row("Clusters", [
            Panel("Clusters by phase", "As they were when they were last looked at.", [("sum by (phase) (marram_operator_clusters)", "{{phase}}")], stacked=True, empty=NO_OPERATOR),
            Panel("Operations under way", "At most one a cluster.", [("sum by (kind) (marram_operator_operations_running)", "{{kind}}")], stacked=True, empty=NO_OPERATOR),
            Panel("Leader", "1 for the process that acts.", [("marram_operator_leader", "{{instance}}")], top=1, empty=NO_OPERATOR),
        ]),
        Row("Work", [
            Panel("Looks at a cluster, p99", "With the step that each led to.", [("histogram_quantile(0.99, sum by (le) (rate(marram_operator_reconcile_duration_seconds_bucket[$__rate_interval])))", "p99")], unit="s", empty=NO_OPERATOR),
            Panel("Looks that failed", "By what did not answer; each is tried again.", [("sum by (reason) (rate(marram_operator_reconcile_errors_total[$__rate_interval]))", "{{reason}}")], unit="ops", empty=NO_OPERATOR),
            Panel("Steps with an effect", "", [("sum(rate(marram_operator_steps_total[$__rate_interval]))", "steps")], unit="ops", empty=NO_OPERATOR),
        ]),
    ],
)

BOARDS = [OVERVIEW, REDUNDANCY, PERFORMANCE, DRIVES, CONSENSUS, CAPACITY_BOARD, OPERATOR]
