//! Appends that are synced before they are acknowledged: Ringlog beside the crates one might take
//! instead, and beside a bare ring loop as the floor.
//!
//! ```text
//! cargo bench -p ringlog-engine --bench durable_append -- --help
//! ```
//!
//! Run as a test (`cargo test`, which passes no `--bench`), it measures two short cells and checks
//! that figures come out. `engine/benches/README.md` says how to read them.

mod args;
mod cell;
mod floor;
mod machine;
mod plan;
mod report;
mod ringlog;
mod rivals;
mod run;
mod smoke;

use std::fs;

use clap::Parser;

use crate::args::Args;
use crate::cell::{Cell, Failure};
use crate::floor::Ground;
use crate::machine::Machine;
use crate::plan::{
    CONTENDERS, FLOOR, FLOOR_FRESH, RINGLOG, RINGLOG_BATCH, RINGLOG_DIRECT, RINGLOG_JOURNAL,
};
use crate::report::Report;
use crate::ringlog::{Drive, Path};
use crate::run::Runner;

fn main() -> Result<(), Failure> {
    machine::raise_file_limit()?;
    let given: Vec<String> = std::env::args().skip(1).collect();
    if !given.iter().any(|one| one == "--bench" || one == "--cell" || one == "--help") {
        return smoke::test(&given);
    }
    let args = Args::parse();
    match &args.cell {
        Some(cell) => run_cell(&serde_json::from_str(cell)?),
        None => compare(&args),
    }
}

/// Runs one cell in this process and prints its figures.
fn run_cell(cell: &Cell) -> Result<(), Failure> {
    let figures = match cell.contender.as_str() {
        FLOOR => floor::run(cell, Ground::Circle)?,
        FLOOR_FRESH => floor::run(cell, Ground::Fresh)?,
        RINGLOG => ringlog::run(cell, Path::Auto, Drive::Tasks)?,
        RINGLOG_BATCH => ringlog::run(cell, Path::Auto, Drive::Batch)?,
        RINGLOG_DIRECT => ringlog::run(cell, Path::Direct, Drive::Tasks)?,
        RINGLOG_JOURNAL => ringlog::run(cell, Path::Journal, Drive::Tasks)?,
        other => return Err(format!("{other} is not built into this program").into()),
    };
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

/// Runs all that was asked for and reports it.
fn compare(args: &Args) -> Result<(), Failure> {
    let is_wanted = |one: &plan::Contender| one.package.is_some() && args.wants(one);
    let rivals = CONTENDERS.iter().any(is_wanted).then(rivals::build).transpose()?;
    let dir = args.dir();
    fs::create_dir_all(&dir)?;
    let runner = Runner { timing: args.timing(), dir, cpu: args.cpu(), rivals };
    let mut report = Report::new(Machine::of(&runner.dir)?, runner.timing);
    for scenario in args.scenarios() {
        let table = runner.table(scenario, |one| args.wants(one));
        println!("{}", report::table(&table));
        report.tables.push(table);
        // Written after each table, so that a run that is cut short leaves what it has.
        if let Some(path) = &args.json {
            fs::write(path, report.json()?)?;
        }
        if let Some(path) = &args.markdown {
            fs::write(path, report.markdown())?;
        }
    }
    println!("{}", report.head());
    println!("{}\n{}", report.summary(), report.crossing());
    Ok(())
}
