//! Draws a history from a seed. Each seed has its own mixture of operations, sizes and faults
//! (swarm testing), so that no rare combination is drowned by the average; half of them have few
//! faults or none, and long lives.

use std::io::ErrorKind;
use std::time::Duration;

use ringlog_engine::io::sim::Operation;
use ringlog_engine::log::FlushPolicy;

use super::history::{
    Action, Cleaning, Flip, History, LogSetup, Patience, RECORDS_MAX, RECORDS_MOST, Setup, Shape,
    Step, TableSetup,
};
use super::random::Random;

/// The mixture of one seed.
struct Mixture {
    weights: [u32; KINDS],
    /// Small batches only, or any.
    bytes_max_log2: u32,
    /// Large batches and many at once, so that several frames of the journal are in flight, some of
    /// them for long.
    is_heavy: bool,
    /// Everything expires soon and often, so that logs are left without a segment.
    is_short_lived: bool,
    /// How often an action is waited for, in percent.
    patient_percent: u64,
    steps: u32,
    logs: usize,
    relaxed_percent: u64,
    power_percent: u64,
    flip_percent: u64,
    kinds: &'static [ErrorKind],
    /// How many of the logs are compacted, in percent.
    table_percent: u64,
    /// Compacted logs have more keys than their cleaner's map holds.
    is_wide: bool,
    /// Compacted logs lose what is clean, and go on from there.
    is_cut_deep: bool,
}

const KINDS: usize = 23;

/// The first of the faults, which a calm seed's weights never hold but for crashes.
const FIRST_FAULT: usize = 15;

/// The place of crashes among the weights.
const CRASH: usize = 19;

const OPERATIONS: [Option<Operation>; 10] = [
    None,
    Some(Operation::Write),
    Some(Operation::Write),
    Some(Operation::Sync),
    Some(Operation::Sync),
    Some(Operation::SyncDir),
    Some(Operation::Names),
    Some(Operation::Open),
    Some(Operation::Allocate),
    Some(Operation::Length),
];

/// Bytes between two checkpoints.
const CHECKPOINTS: [u64; 4] = [4096, 8192, 30_000, 1 << 30];

/// The history of a seed.
pub(crate) fn draw(seed: u64) -> History {
    let mut random = Random::new(seed ^ 0x5157_4152_4d00_0000);
    let mut mixture = mixture(&mut random);
    // Drawn apart from the rest, so that seeds without compacted logs have the histories that they
    // had before there were any.
    let mut apart = Random::new(seed ^ 0x434f_4d50_4143_5400);
    mix_tables(&mut apart, &mut mixture);
    let mut setup = setup(&mut random, &mixture);
    setup.has_unordered_names = apart.percent(40);
    let mut steps = Vec::new();
    for _ in 0..mixture.steps {
        let step = step(&mut random, &mixture);
        steps.push(step);
        let goes_on = step.patience != Patience::Done;
        if matches!(step.action, Action::Compact { .. }) {
            if goes_on && random.percent(80) {
                steps.push(in_compaction(&mut random, &mixture, step.log));
            } else if mixture.is_cut_deep {
                steps.extend(cut_deep(&mut random, &mixture, step.log));
            }
        } else if is_aimed(&step) || is_crowded(&step, &mixture) {
            steps.push(crash(&mut random, &mixture, step.log));
        }
    }
    History { seed, setup, steps }
}

fn mixture(random: &mut Random) -> Mixture {
    let is_calm = random.percent(50);
    // Append, Repeat, Bump, Read, ReadAll, Search, Flush, Roll, Retain, DeleteBefore, Truncate,
    // NewEpoch, Settings, Reopen, Recreate, then faults: Fail, Misdirect, Fill, Free, Crash.
    // Those of compacted logs are drawn later: Compact, EndTransaction, Pass.
    let mut weights = [40, 2, 1, 12, 1, 3, 3, 2, 2, 2, 2, 2, 2, 1, 1, 0, 0, 0, 0, 5, 0, 0, 0];
    for (kind, weight) in weights.iter_mut().enumerate() {
        // Each seed leaves some things out and does others often.
        if kind > 0 && kind < FIRST_FAULT {
            *weight *= random.pick(&[0, 1, 1, 4]);
        }
    }
    let is_heavy = random.percent(20);
    let is_short_lived = random.percent(10);
    let mut flip_percent = 0;
    if is_calm {
        weights[CRASH] = random.pick(&[0, 1, 2, 4]);
    } else {
        weights[CRASH] = random.pick(&[3, 8, 15]);
        match random.below(7) {
            0 => {}
            1 | 2 => weights[15] = random.pick(&[2, 5, 10]),
            3 => (weights[17], weights[18]) = (5, 6),
            4 | 5 => flip_percent = random.pick(&[20, 60]),
            _ => weights[16] = random.pick(&[1, 3]),
        }
        if random.percent(25) {
            weights[15] += 3;
        }
    }
    if is_heavy {
        weights[CRASH] = weights[CRASH].max(8);
    }
    if is_short_lived {
        // Retain, and a crash soon after.
        (weights[8], weights[CRASH]) = (20, weights[CRASH].max(8));
    }
    Mixture {
        weights,
        bytes_max_log2: random.pick(&[5, 9, 12, 14]),
        is_heavy,
        is_short_lived,
        patient_percent: random.pick(if is_heavy { &[20, 20, 60] } else { &[20, 60, 95] }),
        steps: if is_calm { 20 + random.small(120) } else { 8 + random.small(50) },
        logs: random.pick(&[1, 1, 2, 3]),
        relaxed_percent: random.pick(&[0, 0, 30, 100]),
        power_percent: random.pick(&[50, 100, 100, 0]),
        flip_percent,
        kinds: random.pick(&[
            &[ErrorKind::Other][..],
            &[ErrorKind::StorageFull],
            &[ErrorKind::Other, ErrorKind::StorageFull, ErrorKind::OutOfMemory],
        ]),
        table_percent: 0,
        is_wide: false,
        is_cut_deep: false,
    }
}

fn mix_tables(random: &mut Random, mixture: &mut Mixture) {
    mixture.table_percent = random.pick(&[0, 0, 0, 50, 100]);
    if mixture.table_percent > 0 {
        mixture.weights[20] = random.pick(&[4, 8, 16]);
        mixture.weights[21] = random.pick(&[0, 6, 14]);
        mixture.weights[22] = random.pick(&[0, 1, 4]);
        // Only what is sealed is compacted.
        mixture.weights[7] += random.pick(&[1, 4, 12]);
        mixture.is_wide = random.percent(35);
        mixture.is_cut_deep = random.percent(25);
        if mixture.is_cut_deep {
            // Without what was cut, nothing is sure of transactions any more.
            mixture.weights[21] = 0;
        }
    }
}

fn setup(random: &mut Random, mixture: &Mixture) -> Setup {
    let mib = 1024 * 1024;
    let logs = (0..mixture.logs)
        .map(|_| LogSetup {
            segment_bytes: 4096 << random.below(6),
            index_interval_bytes: random.pick(&[256, 1024, 4096]),
            checkpoint_bytes: random.pick(&CHECKPOINTS),
            retention_bytes: random.percent(50).then(|| random.pick(&[1, 8192, 65_536])),
            retention_age_max_ms: if mixture.is_short_lived {
                Some(1)
            } else {
                random.percent(50).then(|| random.pick(&[1, 20, 1_000]))
            },
            flush: flush(random, mixture),
            table: table(random, mixture),
        })
        .collect();
    let blocks = if mixture.is_heavy { 128 } else { random.pick(&[16, 16, 24, 64]) };
    let journal = (random.pick(&[2, 2, 3, 5]), 4096 * blocks);
    Setup {
        logs,
        journal: random.percent(70).then_some(journal),
        pool_bytes: random.pick(&[8, 16]) * mib,
        cache_bytes: random.pick(&[0, 16 * 1024, 256 * 1024, 4 * mib]),
        open_files_max: random.pick(&[1, 2, 64]),
        index_cache_bytes: random.pick(&[0, 300, 1 << 20]),
        read_ahead_bytes: random.pick(&[0, 64 * 1024, mib]),
        latency_max_us: random.pick(&[11, 50, 500]),
        slow_one_in: random.pick(if mixture.is_heavy {
            &[5, 10, 10, 100]
        } else {
            &[0, 0, 10, 100]
        }),
        short_one_in: random.pick(&[0, 0, 4, 20]),
        has_unordered_names: false,
    }
}

fn table(random: &mut Random, mixture: &Mixture) -> Option<TableSetup> {
    if mixture.table_percent == 0 || !random.percent(mixture.table_percent) {
        return None;
    }
    Some(TableSetup {
        keys: if mixture.is_wide {
            random.pick(&[200, 300, 1_000])
        } else {
            random.pick(&[1, 3, 8, 40, 1_000])
        },
        tombstone_percent: random.pick(&[0, 10, 30]),
        keyless_percent: random.pick(&[0, 0, 5, 40]),
        has_transactions: mixture.weights[21] > 0,
        delete_retention_ms: random.pick(&[0, 1, 20, 1_000]),
    })
}

fn cleaning(random: &mut Random, mixture: &Mixture) -> Cleaning {
    Cleaning {
        dirty_percent: random.pick(&[0, 0, 0, 50, 100]),
        min_lag_ms: random.pick(&[0, 0, 0, 5, 100]),
        max_lag_ms: random.percent(20).then(|| random.pick(&[1, 100])),
        // The smallest is full after some 150 keys.
        key_map_bytes: if mixture.is_wide { 0 } else { random.pick(&[0, 0, 1 << 20]) },
        bytes_per_second: random.percent(20).then_some(10_000_000),
        up_to: random.pick(&[u8::MAX, u8::MAX, u8::MAX, 200, 128]),
    }
}

fn flush(random: &mut Random, mixture: &Mixture) -> FlushPolicy {
    if !random.percent(mixture.relaxed_percent) {
        return FlushPolicy::EveryBatch;
    }
    let interval = random.percent(50).then_some(Duration::from_millis(2));
    FlushPolicy::Relaxed { messages: 1 + random.below(40), interval }
}

fn step(random: &mut Random, mixture: &Mixture) -> Step {
    let log = usize::try_from(random.below(8)).expect("below 8");
    let at = random.next().to_le_bytes()[0];
    let producer = random.small(3);
    let action = match random.weighted(&mixture.weights) {
        0 => Action::Append {
            tasks: if mixture.is_heavy { 4 } else { random.pick(&[1, 1, 1, 3]) },
            batches: if mixture.is_heavy { 4 } else { random.pick(&[1, 1, 2, 8]) },
            shape: shape(random, mixture),
            producer: random.percent(40).then_some(producer),
            wait: random.percent(if mixture.is_heavy { 30 } else { 60 }),
        },
        1 => Action::Repeat { producer, back: random.small(5) },
        2 => Action::Bump { producer },
        3 => Action::Read {
            at,
            bytes: random.pick(&[1, 600, 5_000, 100_000]),
            at_least_one: random.percent(80),
        },
        4 => Action::ReadAll,
        5 => Action::Search { at },
        6 => Action::Flush,
        7 => Action::Roll,
        8 => Action::Retain,
        9 => Action::DeleteBefore { at: at / random.pick(&[1, 2, 8]) },
        10 => Action::Truncate { at: 255 - at / random.pick(&[1, 4, 16]) },
        11 => Action::NewEpoch,
        12 => Action::Settings {
            flush: flush(random, mixture),
            segment_bytes: 4096 << random.below(6),
        },
        13 => Action::Reopen,
        14 => Action::Recreate,
        15 => Action::Fail {
            operation: random.pick(&OPERATIONS),
            skip: random.pick(&[0, 0, 1, 3, 10]),
            kind: random.pick(mixture.kinds),
        },
        16 => Action::Misdirect {
            operation: random.pick(&[Operation::Write, Operation::Read]),
            skip: random.small(8),
        },
        17 => Action::Fill { spare: random.pick(&[0, 4096, 16_384, 70_000]) },
        18 => Action::Free,
        20 => Action::Compact { cleaning: cleaning(random, mixture) },
        21 => {
            let (commits, fences) = (random.percent(50), random.percent(20));
            Action::EndTransaction { producer, commits, fences }
        }
        22 => Action::Pass { ms: random.pick(&[1, 20, 200, 2_000]) },
        _ => Action::Crash {
            power: random.percent(mixture.power_percent),
            flip: random.percent(mixture.flip_percent).then(|| Flip {
                in_journal: random.percent(50),
                file: random.small(64),
                at: u16::try_from(random.below(1 << 16)).expect("16 bits"),
            }),
        },
    };
    let aim_percent = match action {
        Action::Compact { .. } => 75,
        Action::Roll
        | Action::Retain
        | Action::DeleteBefore { .. }
        | Action::Truncate { .. }
        | Action::Reopen
        | Action::Recreate
            if mixture.weights[CRASH] > 0 =>
        {
            15
        }
        Action::Crash { .. } => 15,
        _ => 0,
    };
    let patience = if random.percent(aim_percent) {
        aimed(random)
    } else if mixture.is_heavy && matches!(action, Action::Append { .. }) {
        Patience::Operations(random.small(40))
    } else if random.percent(mixture.patient_percent) {
        Patience::Done
    } else {
        Patience::Operations(random.pick(&[0, 1, 2, 4, 8, 16, 40]))
    };
    Step { log, action, patience }
}

/// A moment in the middle of something that takes many operations and changes names.
fn aimed(random: &mut Random) -> Patience {
    if random.percent(50) {
        let most = random.pick(&[10, 30, 100]);
        Patience::Operations(1 + random.small(most))
    } else {
        let most = random.pick(&[8, 16, 40]);
        Patience::Names(1 + random.small(most))
    }
}

/// Whether a crash is to come in the middle of it, wherever that is.
fn is_aimed(step: &Step) -> bool {
    let is_crash = matches!(step.action, Action::Crash { .. });
    matches!(step.patience, Patience::Names(_)) && !is_crash
}

/// Whether a crash is to come while so much is appended that several frames of the journal are in
/// flight.
fn is_crowded(step: &Step, mixture: &Mixture) -> bool {
    let is_append = matches!(step.action, Action::Append { wait: false, .. });
    let is_odd = |count| count % 2 == 1;
    let is_cut_short = matches!(step.patience, Patience::Operations(count) if is_odd(count));
    mixture.is_heavy && is_append && is_cut_short && mixture.weights[CRASH] > 0
}

/// What comes in the middle of a compaction.
fn in_compaction(random: &mut Random, mixture: &Mixture, log: usize) -> Step {
    let at = random.next().to_le_bytes()[0];
    let action = match random.below(6) {
        0 => Action::DeleteBefore { at },
        1 => Action::Retain,
        2 => Action::Truncate { at: 255 - at / random.pick(&[1, 4, 16]) },
        _ => return crash(random, mixture, log),
    };
    Step { log, action, patience: Patience::Done }
}

fn crash(random: &mut Random, mixture: &Mixture, log: usize) -> Step {
    let action = Action::Crash { power: random.percent(mixture.power_percent), flip: None };
    Step { log, action, patience: Patience::Done }
}

/// A cut below what is clean, and what is appended there instead: it is as dirty as can be.
fn cut_deep(random: &mut Random, mixture: &Mixture, log: usize) -> [Step; 5] {
    // Of a compacted log, only every fourth cut goes as deep as it says.
    let at = 252 - 4 * random.pick(&[0, 2, 8, 30]);
    let append = Action::Append {
        tasks: 2,
        batches: 8,
        shape: shape(random, mixture),
        producer: None,
        wait: true,
    };
    let compact = Action::Compact { cleaning: Cleaning::WHOLE };
    [Action::Roll, compact, Action::Truncate { at }, append, append].map(|action| Step {
        log,
        action,
        patience: Patience::Done,
    })
}

fn shape(random: &mut Random, mixture: &Mixture) -> Shape {
    if mixture.is_heavy {
        let bytes = 2_000 + random.small(10_000);
        return Shape { records: 1 + random.small(3), bytes };
    }
    let log2 = random.below(u64::from(mixture.bytes_max_log2) + 1);
    let bytes = u32::try_from(random.below(1 << log2)).expect("bounded by the mixture");
    let is_table = mixture.table_percent > 0;
    if mixture.is_wide && random.percent(50) {
        return Shape { records: RECORDS_MOST - random.small(15), bytes: bytes.min(40) };
    }
    if is_table && random.percent(20) {
        // Many keys at once, so that a small map of them is full.
        return Shape { records: 1 + random.small(RECORDS_MOST), bytes: bytes.min(200) };
    }
    Shape { records: 1 + random.small(RECORDS_MAX), bytes }
}
