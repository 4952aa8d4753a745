//! The checks of one log.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use indicatif::ProgressBar;
use ringlog_engine::entry::Entry;

use super::Findings;
use crate::cli::CliError;
use crate::segment::folder::{LogFolder, SegmentFiles};
use crate::segment::index::{offset_entries, time_entries};
use crate::segment::state::{CleanEnd, MANIFEST, Manifest, check_snapshot, manifest};
use crate::segment::{Rest, SegmentScanner, Step};

/// What a segment's batches say, for its indexes to be checked against.
#[derive(Debug, Default)]
struct Layout {
    /// Base offset by the position where a batch begins.
    batches: BTreeMap<u64, i64>,
    /// By each batch's last offset, its base offset and the largest timestamp up to and with it.
    times: BTreeMap<i64, (i64, i64)>,
}

/// Bytes that checking a log will read.
pub(super) fn bytes(folder: &LogFolder) -> u64 {
    let logs = folder.segments.values().filter_map(|segment| segment.log.as_ref());
    logs.filter_map(|path| fs::metadata(path).ok()).map(|metadata| metadata.len()).sum()
}

/// Checks a log's segments in order, its indexes, and its small files.
pub(super) fn check(
    folder: &LogFolder,
    findings: &mut Findings,
    progress: &ProgressBar,
) -> Result<(), CliError> {
    findings.logs += 1;
    let manifest = read_manifest(folder, findings)?;
    let last_base = folder.segments.iter().rfind(|(_, files)| files.log.is_some()).map(|(b, _)| *b);
    let mut expected = None;
    for (&base, files) in &folder.segments {
        check_snapshot_file(base, files, findings)?;
        let Some(log) = &files.log else {
            for index in [&files.index, &files.time_index].into_iter().flatten() {
                findings.note(index, "an index without a segment".to_owned());
            }
            continue;
        };
        findings.segments += 1;
        if let Some(end) = expected
            && end != base
        {
            let text = format!("segment begins at offset {base}, the one before ends at {end}");
            findings.problem(log, text);
        }
        let is_last = Some(base) == last_base;
        let vouched = manifest.and_then(|manifest| manifest.clean);
        let vouched = vouched.filter(|clean| is_last && vouches(clean, base, log));
        let scan = Scan { log, base, may_be_torn: is_last && vouched.is_none() };
        let (layout, end) = scan.run(findings, progress)?;
        if let Some(clean) = vouched.filter(|clean| clean.end != end) {
            let stated = clean.end;
            findings.problem(log, format!("ends at offset {end}, the manifest says {stated}"));
        }
        check_index(files, base, &layout, findings)?;
        check_time_index(files, base, &layout, findings)?;
        expected = Some(end);
    }
    if let (Some(manifest), Some(end)) = (manifest, expected)
        && manifest.log_start > end
    {
        let text = format!("log starts at offset {}, but ends at {end}", manifest.log_start);
        findings.problem(&folder.path.join(MANIFEST), text);
    }
    Ok(())
}

/// Whether a clean shutdown speaks of this very file.
fn vouches(clean: &CleanEnd, base: i64, log: &Path) -> bool {
    let length = fs::metadata(log).map(|metadata| metadata.len());
    clean.last_base == base && length.is_ok_and(|length| length == clean.last_length)
}

fn read_manifest(
    folder: &LogFolder,
    findings: &mut Findings,
) -> Result<Option<Manifest>, CliError> {
    let path = folder.path.join(MANIFEST);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(CliError::Read { path, source }),
    };
    match manifest(&bytes) {
        Ok(manifest) => Ok(Some(manifest)),
        Err(error) => {
            findings.problem(&path, error.to_string());
            Ok(None)
        }
    }
}

fn check_snapshot_file(
    base: i64,
    files: &SegmentFiles,
    findings: &mut Findings,
) -> Result<(), CliError> {
    if let Some(path) = &files.snapshot
        && let Err(error) = check_snapshot(&read(path)?, base)
    {
        findings.problem(path, error.to_string());
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(path).map_err(|source| CliError::Read { path: path.to_owned(), source })
}

/// One pass over a segment.
struct Scan<'a> {
    log: &'a Path,
    base: i64,
    /// Whether a crash may have left an end that was never acknowledged.
    may_be_torn: bool,
}

/// What a scan has seen so far.
struct Seen {
    layout: Layout,
    /// The offset that should follow.
    next: i64,
    time_max: i64,
}

impl Seen {
    /// Takes an entry that is right in itself into account.
    fn entry(&mut self, log: &Path, position: u64, entry: &impl Entry, findings: &mut Findings) {
        let header = entry.header();
        let (found, expected) = (header.base_offset, self.next);
        if found != expected {
            let text = format!(
                "batch at position {position} has base offset {found}, expected {expected}"
            );
            findings.problem(log, text);
        }
        self.next = header.last_offset().saturating_add(1);
        self.time_max = self.time_max.max(header.max_timestamp.millis());
        self.layout.batches.insert(position, found);
        self.layout.times.insert(header.last_offset(), (found, self.time_max));
        findings.batches += 1;
        findings.records += u64::try_from(header.record_count).unwrap_or(0);
        findings.bytes += u64::try_from(entry.size_bytes()).unwrap_or(0);
    }
}

impl Scan<'_> {
    /// Gives the layout, and the offset after the last batch that is right.
    fn run(
        &self,
        findings: &mut Findings,
        progress: &ProgressBar,
    ) -> Result<(Layout, i64), CliError> {
        let failed = |source| CliError::Read { path: self.log.to_owned(), source };
        let mut scanner = SegmentScanner::open(self.log).map_err(failed)?;
        let mut seen = Seen { layout: Layout::default(), next: self.base, time_max: -1 };
        // The last thing seen was broken: whether that is a torn end shows with what follows.
        let mut broken: Option<String> = None;
        loop {
            let before = scanner.position();
            let step = scanner.step().map_err(failed)?;
            if !matches!(step, Step::Rest(_) | Step::End)
                && let Some(text) = broken.take()
            {
                findings.problem(self.log, text);
            }
            match step {
                Step::Batch { position, batch } => {
                    seen.entry(self.log, position, &batch, findings);
                }
                Step::Frame { position, frame } => {
                    seen.entry(self.log, position, &frame, findings);
                }
                Step::Broken { position, header, error } => {
                    broken = Some(format!("batch at position {position}: {error}"));
                    // What it says of its offsets is the best guess at what comes next.
                    if header.base_offset == seen.next {
                        seen.next = header.last_offset().saturating_add(1);
                    }
                }
                Step::Rest(rest) => {
                    self.end(broken.take(), Some(rest), findings);
                    break;
                }
                Step::End => {
                    self.end(broken.take(), None, findings);
                    break;
                }
            }
            progress.inc(scanner.position().saturating_sub(before));
        }
        Ok((seen.layout, seen.next))
    }

    fn end(&self, broken: Option<String>, rest: Option<Rest>, findings: &mut Findings) {
        if let Some(text) = broken {
            if self.may_be_torn {
                findings.note(self.log, format!("torn end, or damage that looks like one: {text}"));
            } else {
                findings.problem(self.log, text);
            }
        }
        let Some(Rest { position, bytes, zeros }) = rest else { return };
        let what = if zeros { "zeros" } else { "bytes that begin no whole entry" };
        let text = format!("{bytes} {what} at its end, from position {position}");
        match (self.may_be_torn, zeros) {
            // Space that was reserved ahead: every log that was not closed has some.
            (true, true) => findings.note(self.log, text),
            (true, false) => {
                findings.note(self.log, format!("torn end, or damage that looks like one: {text}"))
            }
            (false, _) => findings.problem(self.log, text),
        }
    }
}

/// A look-up through an entry starts at its position, so a batch must begin there, and not after
/// the entry's offset.
fn check_index(
    files: &SegmentFiles,
    base: i64,
    layout: &Layout,
    findings: &mut Findings,
) -> Result<(), CliError> {
    let Some(path) = &files.index else { return Ok(()) };
    let (entries, rest) = offset_entries(&read(path)?);
    if rest > 0 {
        findings.problem(path, format!("{rest} bytes at its end are no whole entry"));
    }
    let mut previous = None;
    for entry in entries {
        let (relative, position) = (entry.relative_offset, entry.position);
        let offset = base.saturating_add(relative.into());
        if previous.is_some_and(|(r, p)| r >= relative || p >= position) {
            findings.problem(path, format!("the entry for offset {offset} does not increase"));
        }
        previous = Some((relative, position));
        match layout.batches.get(&u64::from(position)) {
            Some(first) if *first <= offset && layout.times.range(offset..).next().is_some() => {
                findings.index_entries += 1;
            }
            Some(first) => findings.problem(
                path,
                format!(
                    "the entry for offset {offset} points to position {position}, where offset \
                     {first} begins"
                ),
            ),
            None => findings.problem(
                path,
                format!(
                    "the entry for offset {offset} points to position {position}, where no batch \
                     begins"
                ),
            ),
        }
    }
    Ok(())
}

/// An entry's timestamp must be the largest of all batches up to the one with its offset.
fn check_time_index(
    files: &SegmentFiles,
    base: i64,
    layout: &Layout,
    findings: &mut Findings,
) -> Result<(), CliError> {
    let Some(path) = &files.time_index else { return Ok(()) };
    let (entries, rest) = time_entries(&read(path)?);
    if rest > 0 {
        findings.problem(path, format!("{rest} bytes at its end are no whole entry"));
    }
    let mut previous = None;
    for entry in entries {
        let (timestamp, relative) = (entry.timestamp, entry.relative_offset);
        let offset = base.saturating_add(relative.into());
        if previous.is_some_and(|(t, r)| t >= timestamp || r >= relative) {
            findings.problem(path, format!("the entry for time {timestamp} does not increase"));
        }
        previous = Some((timestamp, relative));
        let holder = layout.times.range(offset..).next().map(|(_, holder)| *holder);
        match holder {
            Some((first, largest)) if first <= offset && largest == timestamp => {
                findings.index_entries += 1;
            }
            Some((first, largest)) if first <= offset => findings.problem(
                path,
                format!(
                    "the entry for time {timestamp} stands at offset {offset}, up to which the \
                     largest timestamp is {largest}"
                ),
            ),
            _ => findings.problem(
                path,
                format!("the entry for time {timestamp} names offset {offset}, which no batch has"),
            ),
        }
    }
    Ok(())
}
