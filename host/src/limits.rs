//! Every bound in the process, and why it has this value.

use std::time::Duration;

/// Events in one batch. A call into a guest costs 1 to 2 µs before the first row, so that a thousand rows make it
/// negligible; beyond some thousands the columns of a batch fall out of the processor's cache.
pub const BATCH_EVENTS_MAX: usize = 4096;

/// Bytes of payload in one batch. A batch ends early here, so that large payloads do not fill a guest's memory.
pub const BATCH_BYTES_MAX: usize = 4 << 20;

/// Bytes that the rows of one column may have while a part of a batch passes the engine. Rows that come out of the state
/// may be larger than the events that bring them; 256 MiB are far below the 4 GiB that a text column can hold.
pub const PART_BYTES_MAX: usize = 256 << 20;

/// Bytes of a pipeline file. It bounds what is read where somebody names another file by mistake.
pub const PIPELINE_BYTES_MAX: u64 = 1 << 20;

/// Bytes of a line of a file of events or rows. A NATS server takes payloads of up to 64 MiB; around one stand the subject
/// and the braces of its line. It bounds what is read where a file has no lines.
pub const INPUT_LINE_BYTES_MAX: usize = 65 << 20;

/// Bytes of a file with credentials, a certificate or a key. They have some KB.
pub const CREDENTIALS_BYTES_MAX: u64 = 1 << 20;

/// Files and sockets that a process has open for its connection, its threads and its rules.
pub const FILES_OF_PROCESS: usize = 24;

/// Files that it has open for each pipeline: up to five connections to the database with three files each, two locks, and the
/// notes of guests at work.
pub const FILES_OF_PIPELINE: usize = 18;

/// Names in a column's path. It bounds the recursion into declared objects, the only recursion that decoding has.
pub const PATH_NAMES_MAX: usize = 32;

/// The greatest index of an element in a column's path. Every element before it is passed over in each payload.
pub const PATH_INDEX_MAX: usize = 65_535;

/// Bytes of a list as JSON. A short number may stand for a long one, such as a decimal with many places.
pub const LIST_BYTES_MAX: usize = 16 << 20;

/// Bytes of a file that says what payloads hold: an Avro schema or the descriptors of Protobuf. Those of large companies have some
/// hundred KB.
pub const SCHEMA_BYTES_MAX: u64 = 16 << 20;

/// Bytes of a payload once it is decompressed: as many as a NATS server takes for one that is not. Some KB can claim to be as many GB.
pub const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// Values within values of a payload that a schema describes. It bounds the recursion of what passes over them and of what makes
/// JSON of them; a schema may be about itself, and a payload nest by it as deep as it is long.
pub const PAYLOAD_NESTING_MAX: usize = 64;

/// Elements of a payload that take no bytes, such as nulls in a list: a payload of ten bytes can claim a billion of them.
pub const EMPTY_ELEMENTS_MAX: usize = 16 << 10;

/// Bytes of one value that is made JSON. The names of fields, which payloads of Avro and Protobuf do not hold, make it longer than
/// it was; no message of NATS has more than 64 MiB.
pub const RENDERED_BYTES_MAX: usize = 64 << 20;

/// Bytes of a constant in a step `columns`. An operator may give rows by the million at once, each of which has it.
pub const CONSTANT_BYTES_MAX: usize = 1024;

/// Inputs of one source. Each has columns of its own under construction, and the server looks at every filter for every
/// message.
pub const INPUTS_MAX: usize = 64;

/// Batches between decode and the engine. Two are enough for the decoder never to wait for a slower engine; each more
/// is memory and latency.
pub const BATCHES_QUEUED_MAX: usize = 4;

/// Changed rows and state entries in one turn. A larger turn collapses more changes of one key and writes its pages in
/// order; a smaller one bounds memory, and the time that a commit (about 3 to 5 µs an entry) keeps the next waiting.
pub const TURN_ENTRIES_MAX: usize = 400_000;

/// Changed rows and state entries that a turn collects while the source is behind. A turn of 100 000 random keys writes a
/// row in a third of the time that it takes in one of 10 000, because its pages are touched in order.
pub const TURN_ENTRIES_BEHIND: usize = 150_000;

/// How long such a turn collects at most: nobody waits longer for rows that are there.
pub const TURN_BEHIND_MAX: Duration = Duration::from_millis(500);

/// How long there is at least between two commits, unless the pipeline says otherwise (`commit.at_most_every`). A commit of
/// one event writes as many pages as one of some dozen; see "Written bytes" in docs/PERFORMANCE.md. An event that comes
/// after a silence does not wait; all others wait less than a tenth of a second, with what the commit takes.
pub const COMMIT_AT_MOST_EVERY: Duration = Duration::from_millis(80);

/// The largest that a pipeline may say: rows that are there are shown within a minute.
pub const COMMIT_AT_MOST_EVERY_MAX: Duration = Duration::from_secs(60);

/// Bytes of a page of a database that begins with a stream of few messages, where others have SQLite's own 4096. What a turn
/// of some dozen events changes lies scattered, and whole pages are written. Large turns take up to a third more processor
/// time with small ones.
pub const PAGE_BYTES_SMALL: u32 = 1024;

/// Messages that a stream may hold for that: a pipeline that catches up takes them in within a second.
pub const SMALL_PAGES_MESSAGES_MAX: u64 = 100_000;

/// Bytes that the state log grows by before buckets are folded: those of one turn after another lie side by side, and a
/// page of them is written once.
pub const FOLD_BYTES_MIN: i64 = 32 << 10;

/// Keys of a step that are forgotten at once (`ttl`), where the others that are due may go later. Each is three entries of
/// a turn at most.
pub const FORGOTTEN_AT_ONCE: usize = 20_000;

/// Bytes that one turn may hold in dead letters and messages, which do not collapse.
pub const TURN_BYTES_MAX: usize = 32 << 20;

/// Buckets into which each operator's keys are cut. A commit folds the log by whole buckets, so one bucket of a million
/// keys is some thousand entries: a millisecond.
pub const STATE_BUCKETS: usize = 256;

/// How often is looked whether a rehearsal is through.
pub const REHEARSAL_LOOK: Duration = Duration::from_millis(1);

/// Batches that a rehearsal may be behind the events at the most; at the swap they are waited for.
pub const REHEARSED_BEHIND_MAX: u64 = 32;

/// Batches that wait for a rehearsal at the most: one that is farther behind is given up, and the rows are judged at the swap.
pub const REHEARSED_WAITING_MAX: u64 = 1024;

/// Batches that wait for a rehearsal before it is handed more current rows.
pub const REHEARSED_AHEAD_MAX: u64 = 2;

/// Rows that `unnest` makes of one row: the elements of its array. Who orders ten thousand things sends them in parts; beyond that it is
/// an array of something else, and each of its rows has all other columns of the event.
pub const UNNEST_ROWS_MAX: usize = 10_000;

/// Bytes that the rows take that `unnest` makes of one row, with all columns that go on: a payload of a megabyte can hold a text of half
/// of it, and an array of ten thousand numbers. A part of a batch ends in front of the event whose rows would take it beyond that.
pub const UNNEST_BYTES_MAX: usize = 64 << 20;

/// Bytes that the rows take that `unnest` makes of all rows of one event: an operator before it may have brought in many of them. It is
/// far below the 4 GiB that a text column can hold.
pub const UNNEST_EVENT_BYTES_MAX: usize = 1 << 30;

/// Columns of a table: what SQLite takes, as it is built in.
pub const TABLE_COLUMNS_MAX: usize = 2000;

/// Columns of a table's key: rows are found by a condition with a part for each, and SQLite takes conditions 1000 deep.
pub const KEY_COLUMNS_MAX: usize = 999;

/// Rows of each rule that `weir test` asks it of again. They are judged four times more in each case, where its events pass three times.
pub const JUDGED_AGAIN_MAX: usize = 1000;

/// Those that it asks it of in an instance of its own each. An instance costs some 40 µs and a place in memory.
pub const JUDGED_AGAIN_ALONE_MAX: u32 = 64;

/// Bytes of what the rule reads of these rows.
pub const JUDGED_AGAIN_BYTES_MAX: usize = 16 << 20;

/// Windows that one row may fall into. Each has an entry of state per group.
pub const WINDOWS_PER_ROW_MAX: i64 = 1000;

/// Rows that a sliding window may look back on. Each is an entry of state.
pub const SLIDING_ROWS_MAX: u64 = 100_000;

/// How many rows before `lag` may look. They are one entry of state per key, which goes into the log whole with each row.
pub const LAG_ROWS_MAX: u64 = 100;

/// Rows that a window may rank per group (`top`). They are one entry of state, which goes into the log whole when one of them
/// changes: a thousand rows of some columns are 100 KiB.
pub const TOP_ROWS_MAX: u64 = 1000;

/// Bytes that a database keeps of the trace, which says by which events rows were made: some millions of changes. Beyond
/// that the oldest turns are forgotten.
pub const TRACE_BYTES_MAX: u64 = 64 << 20;

/// Bytes of one row of the state log. Larger turns write several rows, so that no blob is held twice in memory.
pub const STATE_LOG_CHUNK_BYTES: usize = 1 << 20;

/// Bytes of write-ahead log after which it is copied into the database file, off the path of the commits.
pub const WAL_BYTES_BEFORE_CHECKPOINT: u64 = 32 << 20;

/// Bytes of write-ahead log from which on a commit copies what is left of it behind a checkpoint, so that it begins anew.
/// It grows further only where a reader is in the way.
pub const WAL_BYTES_MAX: u64 = 8 * WAL_BYTES_BEFORE_CHECKPOINT;

/// How long nothing is written before the write-ahead log is copied, however small it is: who copies the file of a quiet
/// pipeline has what it holds.
pub const CHECKPOINT_SILENCE: Duration = Duration::from_secs(3);

/// How old the database file gets beside a log that is written all the time and stays small.
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(120);

/// Bytes that all linear memories and tables of an instance of a guest may grow to together, with what the host keeps of
/// it, unless its step says otherwise (`memory_mib`).
pub const GUEST_MEMORY_BYTES: usize = 64 << 20;

/// The largest `memory_mib` of a step: a quarter of the address space that each memory gets.
pub const GUEST_MEMORY_MIB_MAX: u64 = 1024;

/// Core instances within a component. One from Rust has up to four, one from Python about 40, and one more for each native
/// library. Each costs the host a KiB, and what counts towards `memory_mib`.
pub const GUEST_CORE_INSTANCES_MAX: usize = 128;

/// Instances of components within a component. Tools make one for each interface that it exports.
pub const GUEST_COMPONENT_INSTANCES_MAX: usize = 64;

/// Linear memories within a component. A guest of any language has one, and one that is put together of several as many.
/// Each takes 4 GiB of address space and [`MAPPINGS_OF_MEMORY`], however small it is.
pub const GUEST_MEMORIES_MAX: usize = 8;

/// Tables within a component. A guest has one for its own functions and one for those that it imports.
pub const GUEST_TABLES_MAX: usize = 16;

/// Modules and components that stand in a component, or that it names: far more than are instantiated.
pub const GUEST_PARTS_MAX: usize = 1024;

/// Handles of resources that a component may hold at once. The contract has none; each costs the host some dozen bytes.
pub const GUEST_HANDLES_MAX: usize = 4096;

/// Guests that may live at once in a process; each is one instance. So many fit into what Linux gives a process, whatever
/// they declare: 65,530 mappings (`vm.max_map_count`), and 128 TiB of address space.
pub const GUESTS_MAX: usize = 1536;

/// Those of pipelines over a stream. Each gets those that it may ever need before it runs.
pub const GUESTS_SHARED: usize = 1024;

/// Those of everything else: checks, cases, replays.
pub const GUESTS_LOOSE: usize = GUESTS_MAX - GUESTS_SHARED;

/// Guests of a stage: its version, the one that it falls back on and a candidate beside them; and as many that take over
/// while these still run.
pub const GUESTS_OF_STAGE: usize = 6;

/// More guests of a stage that reads a changelog, where current rows are judged anew: two versions and what the first falls
/// back on, for a swap that is to come, and as many for a candidate.
pub const GUESTS_OVER_CHANGELOG: usize = 6;

/// Guests of an aggregate: it is not swapped.
pub const GUESTS_OF_AGGREGATE: usize = 1;

/// Guests of a pipeline beside its steps': one that describes itself and one that is tried with its parameters, while a
/// deployment is checked.
pub const GUESTS_OF_PIPELINE: usize = 2;

/// Mappings of a linear memory: what stands before it, its first contents, what was added, and what it may still grow to.
pub const MAPPINGS_OF_MEMORY: usize = 4;

/// Calls after which an instance is replaced, so that what it keeps cannot grow for ever. Making one takes about as long as
/// thirty calls of a rule in Rust.
pub const GUEST_CALLS_MAX: u32 = 100_000;

/// Bytes that one answer of a guest may hold, unless its step says otherwise (`output_mib`).
pub const GUEST_OUTPUT_BYTES: usize = 32 << 20;

/// Rows that an example of a shadow shows of one row in one output.
pub const SHADOW_ROWS_SHOWN_MAX: usize = 5;

/// How often the timer of a key may come behind one event: one that sets itself again and again, a microsecond later each time,
/// would never end where event time makes a leap.
pub const TIMERS_AT_ONCE_MAX: u32 = 10_000;

/// Rows of one output that may come of one row, unless a step says otherwise (`rows_per_row`).
pub const ROWS_PER_ROW: usize = 1_000;

/// The most that a step may say.
pub const ROWS_PER_ROW_MAX: u64 = 65_536;

/// How long one call of a guest may take, unless its step says otherwise (`deadline_ms`).
pub const GUEST_DEADLINE: Duration = Duration::from_millis(500);

/// How often the clock behind [`GUEST_DEADLINE`] ticks; a call is ended at most two ticks late.
pub const EPOCH_TICK: Duration = Duration::from_millis(10);

/// How many times its deadline a call may take by the clock on the wall, where the guest does not get the processor: a
/// machine with so many more threads to run than processors is of no use to anybody.
pub const GUEST_WALL_TIMES: u32 = 20;

/// How long it may take by the clock on the wall at least: short deadlines are no reason to end a guest on a machine that
/// stood still for some seconds.
pub const GUEST_WALL_MIN: Duration = Duration::from_secs(10);

/// Rows for which a version is on trial after it was swapped in, unless its step says otherwise: enough for a mistake that
/// spoils one row in a hundred to show.
pub const TRIAL_ROWS: u64 = 1000;

/// How many of them may fail that the version before takes. One more, and the version is taken back.
pub const TRIAL_FAILURES: u64 = 10;

/// Rows of a stage on which its guest may fail, of [`FAILURES_OF`], before its pipeline stops, unless the step says
/// otherwise: far more than the poison in any stream, and far fewer than a module that is broken.
pub const FAILURES_MOST: u64 = 1000;

/// The rows of a stage that are counted as one block.
pub const FAILURES_OF: u64 = 10_000;

/// The most rows that a block may have.
pub const FAILURES_OF_MAX: u64 = 1_000_000_000;

const _: () = assert!(FAILURES_MOST < FAILURES_OF && FAILURES_OF < FAILURES_OF_MAX);

/// Rows in one call while a version is on trial: one that never ends is found out by halving so many.
pub const TRIAL_BATCH_ROWS: u32 = 256;

/// Steps whose numbers a host reports, so that what it says stays small; a pipeline of more reports the first of them.
pub const MEASURED_STEPS_MAX: usize = 256;

/// Versions of modules that are measured at once. Each deployment adds one; the oldest goes.
pub const MEASURED_VERSIONS_MAX: usize = 64;

/// Batches that wait for a candidate which runs beside a stage. Further ones pass it by: it is held up, not the stage.
pub const SHADOW_BATCHES_MAX: usize = 4;

/// Rows that a report on a candidate shows as examples.
pub const SHADOW_EXAMPLES_MAX: usize = 10;

/// Characters of one value in such an example.
pub const SHADOW_VALUE_CHARS_MAX: usize = 80;

/// How often the host may die at work for one guest while its pipeline gets no further; then that guest is not run again. Once
/// may be chance (somebody killed a busy host), twice a clumsy supervisor. To be at work for the same young guest three times
/// in a row, without a turn committed in between, is no chance that a host meets.
pub const GUEST_DEATHS_MAX: u64 = 3;

/// How often the host may die at work for one guest without a run in between that ended in another way, though its pipeline
/// gets further each time. A host that is killed at random while a rule takes half of its time comes to it once in a million
/// runs of so many kills; a rule that kills its host comes to it after twenty starts.
pub const GUEST_DEATHS_IN_A_ROW_MAX: u64 = 20;

/// How long a guest is watched from the start of its process, or from its swap. A host that dies of a guest and is started
/// again at once meets the same event within seconds; what kills it after more than a minute leaves a minute of work each time.
pub const GUEST_PROBATION: Duration = Duration::from_secs(60);

/// Pieces of work for guests that are noted at once in a file beside a database: one for each thread that is at work for one,
/// which are three per pipeline and one per candidate.
pub const GUEST_NOTES_MAX: usize = 256;

const _: () = assert!(GUEST_DEATHS_MAX > 1 && GUEST_DEATHS_MAX < GUEST_DEATHS_IN_A_ROW_MAX);

/// Keys that a pipeline or a host trusts. Each host tells of them every two seconds, and all people who deploy are fewer.
pub const TRUSTED_KEYS_MAX: usize = 64;

/// By how much the clock of somebody who signs may be ahead of a host's: more than clocks differ that anybody looks after. One
/// that is further ahead would make every signature of other clocks look older than its own.
pub const SIGNED_AHEAD_MAX: Duration = Duration::from_secs(600);

/// The shortest time for which a signature may be good: instants are shown to the second, and no host hears of a deployment at
/// once.
pub const SIGNED_FOR_MIN: Duration = Duration::from_secs(1);

/// Characters of a text of the registry, such as a note or a reason, that are shown: more than people write, and fewer than
/// fill a screen. Whoever may write to the registry may write megabytes.
pub const TOLD_CHARS_MAX: usize = 1000;

/// Rows of a row group of a Parquet file that `weir export` writes, which are in memory until it is whole: enough that a reader
/// has much to do between two of them.
pub const EXPORT_GROUP_ROWS_MAX: usize = 1 << 17;

/// Bytes of their values, about, where those are large.
pub const EXPORT_GROUP_BYTES_MAX: usize = 32 << 20;

/// Bytes of a component. A rule in Rust has some 30 to 300 KB.
pub const GUEST_MODULE_BYTES_MAX: u64 = 32 << 20;

/// CPU time that compiling one component may take. A rule in Python, which brings an interpreter along (19 MB), takes 9 s;
/// what takes minutes is made for that.
pub const COMPILE_CPU: Duration = Duration::from_secs(60);

/// How long it may take by the clock, also on a machine whose processors are others' most of the time.
pub const COMPILE_WALL: Duration = Duration::from_secs(300);

/// MiB of address space that the process may have that compiles one.
pub const COMPILE_MEMORY_MIB: u64 = 2048;

/// Bytes of the machine code of one component. The process holds them twice for a moment.
pub const COMPILED_CODE_BYTES_MAX: u64 = 256 << 20;

/// Processes that compile at a time. Two, so that one that takes its minute does not hold up the others, and so that all
/// of them together have a bound on memory that a host can spare.
pub const COMPILERS_MAX: usize = 2;

/// How often compiling a component is tried where it fails for a reason that may not be the component's: the system may kill
/// each process that compiles it, and takes memory from others before it does.
pub const COMPILE_TRIES: u32 = 3;

/// Components whose failures of that kind are counted at a time.
pub const COMPILE_FAILURES_KEPT: usize = 1024;

/// Threads of one of them. Each has address space of its own before it has done anything.
pub const COMPILER_THREADS_MAX: usize = 4;

/// Bytes of compiled code that are kept on disk. Beyond that what was not used for longest is removed.
pub const CODE_CACHE_BYTES_MAX: u64 = 1 << 30;

/// Bytes of all tables of lines that a component carries. What else they may have stands in `weir-lines`, which tools that make
/// components stand on too: with all of it they take 5 MiB of the host.
pub const GUEST_LINES_BYTES_MAX: usize = weir_lines::SECTION_BYTES_MAX;

/// Frames of a guest's stack that are looked at after a trap. A panic of Rust has some ten of its own before those of the rule,
/// of which five are shown. wasmtime copies the name of each.
pub const GUEST_BACKTRACE_FRAMES_MAX: usize = 20;

/// Bytes of the name of a function in a component: what WebAssembly's tools take of the names of imports and exports. So a trap
/// copies 2 MB of them at most.
pub const GUEST_FUNCTION_NAME_BYTES_MAX: usize = 100_000;

/// Bytes of such a name that is taken apart for a reason. A longer one is shown as it stands, and cut as every reason is.
pub const GUEST_DEMANGLED_NAME_BYTES_MAX: usize = 4096;

/// Components and modules that may stand within one another. Tools that compose components make a few.
pub const GUEST_NESTING_MAX: usize = weir_lines::NESTING_MAX;

/// Outputs of one stage, as the contract says.
pub const GUEST_OUTPUTS_MAX: usize = 64;

/// Parameters that a guest may have. Nobody sets hundreds, and each is looked up by name.
pub const DESCRIPTION_PARAMETERS_MAX: usize = 256;

/// Columns that a guest reads, and those of one of its outputs: as many as a wide table has.
pub const DESCRIPTION_COLUMNS_MAX: usize = 1024;

/// Bytes of a name that a guest gives: of itself, a column, an output, a parameter.
pub const DESCRIPTION_NAME_BYTES_MAX: usize = 256;

/// Bytes of one text in which a guest says what something is for: a page.
pub const DESCRIPTION_DOC_BYTES_MAX: usize = 4096;

/// Bytes of what one parameter of a guest is by default: a list of thousands of names.
pub const DESCRIPTION_VALUE_BYTES_MAX: usize = 64 << 10;

/// Bytes of everything that a guest says of itself. It stays in memory with the module.
pub const DESCRIPTION_BYTES_MAX: usize = 1 << 20;

/// Bytes of the state that an aggregate's guest keeps of one group, as the contract says. A state goes through the guest
/// and into the log whole whenever a row of its group comes: 64 KiB hold thousands of numbers, and what needs more than
/// that for a single group is cut into groups.
pub const GUEST_STATE_BYTES_MAX: usize = 64 << 10;

/// Bytes of all states in one call of an aggregate's guest, as the contract says: two thousand groups of 4 KiB. The guest
/// holds them as they came, as it understands them, and as they go back.
pub const GUEST_CALL_STATE_BYTES_MAX: usize = 8 << 20;

/// Bytes in which an aggregate's guest says what its states look like, as the contract says.
pub const GUEST_STATE_LAYOUT_BYTES_MAX: usize = 4096;

/// Bytes of one log line of a guest; the rest is cut.
pub const GUEST_LOG_LINE_BYTES: usize = 4096;

/// Log lines of a guest in one call; further ones are counted and dropped.
pub const GUEST_LOG_LINES: usize = 100;

/// Log lines of a guest in a minute, over all of its calls; further ones are counted and dropped. With the longest lines that
/// is 4 MiB, so that a rule which says something at each event fills no disk.
pub const GUEST_LOG_LINES_PER_MINUTE: usize = 10 * GUEST_LOG_LINES;

/// Bytes of the name of a time zone that a guest asks for. The longest there is has some thirty.
pub const GUEST_ZONE_BYTES_MAX: usize = 256;

/// Dead letters that a database keeps, unless its pipeline says otherwise (`dead_letters.keep`): more than anybody looks
/// through, and far fewer than fill a disk.
pub const DEAD_LETTERS_KEPT: u64 = 1_000_000;

/// Bytes of their payloads, unless the pipeline says otherwise.
pub const DEAD_LETTER_BYTES_KEPT: u64 = 1 << 30;

/// Bytes of the reason of a dead letter; the rest is cut.
pub const REASON_BYTES_MAX: usize = 1024;

/// Bytes of why a module is refused; the rest is cut. Names that a stranger chose may stand in it, of 100 KB each, and a host
/// tells the registry of it again and again, with all that it says of itself in one message.
pub const REFUSAL_BYTES_MAX: usize = 4096;

const _: () = {
    assert!(
        TURN_ENTRIES_BEHIND < TURN_ENTRIES_MAX,
        "a turn that waits for more does not run into its bound"
    );
    // A turn that is being committed and one that collects are both in memory.
    assert!(
        TURN_BYTES_MAX >= 2 * BATCH_BYTES_MAX,
        "a turn holds the dead letters of at least two whole batches"
    );
    // Columns are copies of payloads, and a guest also has to build its answer.
    assert!(
        GUEST_MEMORY_BYTES >= 8 * BATCH_BYTES_MAX,
        "a guest has room for a batch and its answer"
    );
    assert!(
        GUEST_MEMORY_BYTES >= 6 * GUEST_CALL_STATE_BYTES_MAX && GUEST_OUTPUT_BYTES >= 2 * GUEST_CALL_STATE_BYTES_MAX,
        "a guest has room for the states of a call, and for what they grow to"
    );
    assert!(
        GUEST_CALL_STATE_BYTES_MAX >= 2 * GUEST_STATE_BYTES_MAX,
        "two states can be merged in one call"
    );
    assert!(
        DESCRIPTION_BYTES_MAX < GUEST_OUTPUT_BYTES,
        "a description that is too long is told to be, and not cut off by the bound on answers"
    );
    assert!(
        CODE_CACHE_BYTES_MAX >= 4 * COMPILED_CODE_BYTES_MAX,
        "the code of one component does not displace that of all others"
    );
    assert!(
        COMPILE_MEMORY_MIB << 20 >= 4 * COMPILED_CODE_BYTES_MAX + 4 * GUEST_MODULE_BYTES_MAX,
        "a component whose code is as large as may be can be compiled"
    );
    assert!(
        COMPILE_WALL.as_secs() >= 2 * COMPILE_CPU.as_secs(),
        "the clock ends no compilation that has processors to itself"
    );
    assert!(
        EPOCH_TICK.as_millis() * 10 <= GUEST_DEADLINE.as_millis(),
        "the deadline is many ticks long"
    );
    assert!(
        GUESTS_MAX * GUEST_MEMORIES_MAX * MAPPINGS_OF_MEMORY <= 50_000,
        "guests leave a process mappings for its code, its threads and its databases"
    );
    assert!(
        GUESTS_MAX * GUEST_MEMORIES_MAX * 5 <= 100 << 10,
        "and of the address space, at 5 GiB a memory"
    );
};
