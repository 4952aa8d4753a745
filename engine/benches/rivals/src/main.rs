//! Runs one cell of the benchmark `durable_append` on another crate, and prints its figures.
//!
//! The one argument is the cell, in JSON. The benchmark starts this program; see there.

#[path = "../../durable_append/cell/mod.rs"]
mod cell;
mod drive;
mod mrecordlog;
mod okaywal;
mod raft_engine;
mod walrus;

use crate::cell::{Cell, Failure, Figures};
use crate::drive::run;

fn main() -> Result<(), Failure> {
    let cell = std::env::args().nth(1).ok_or("usage: ringlog-append-rivals CELL, as JSON")?;
    let figures = figures_of(&serde_json::from_str(&cell)?)?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

fn figures_of(cell: &Cell) -> Result<Figures, Failure> {
    let (name, drive) = cell.contender.split_once(':').unwrap_or((&cell.contender, ""));
    // Either a thread for each append in flight, or one thread that hands over all that wait.
    let (workers, at_once) = match drive {
        "threads" => (cell.in_flight, 1),
        "batch" | "batch+fdatasync" => (1, cell.in_flight),
        other => return Err(format!("{other:?} is no way to drive a crate").into()),
    };
    match name {
        "mrecordlog" if drive == "batch" => run::<mrecordlog::Log<false>>(cell, workers, at_once),
        "mrecordlog" => run::<mrecordlog::Log<true>>(cell, workers, at_once),
        "okaywal" => run::<okaywal::Log>(cell, workers, at_once),
        "raft-engine" => run::<raft_engine::Log>(cell, workers, at_once),
        "walrus-rust" => run::<walrus::Log>(cell, workers, at_once),
        other => Err(format!("{other} is not one of the crates in this program").into()),
    }
}
