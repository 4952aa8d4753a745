//! The tables of the page.

use super::Text;
use super::groups::Group;
use crate::report::comparison::text::{in_digits, in_figures};
use crate::report::comparison::{ComparedLine, Comparison, Spread};
use crate::report::device::{DEVICE_HEADINGS, DeviceReport};
use crate::report::measurement::{Figure, Flow, Measurement, float};

const HEADINGS: &[&str] = &[
    "",
    "MB/s",
    "requests/s",
    "MB/s out",
    "p50 us",
    "p90 us",
    "p99 us",
    "p99.9 us",
    "p99.99 us",
    "max us",
    "CPU us/MB",
    "CPU us/MB out",
    "CPU us/request",
    "memory MiB",
    "of the rate, %",
    "headroom",
    "more",
    "problems",
];

fn row(tag: &str, cells: impl IntoIterator<Item = String>) -> String {
    let cells: String =
        cells.into_iter().map(|cell| format!("<{tag}>{}</{tag}>", Text(&cell))).collect();
    format!("<tr>{cells}</tr>\n")
}

fn table(head: impl IntoIterator<Item = String>, rows: &str) -> String {
    format!("<table>\n{}{rows}</table>\n", row("th", head))
}

fn digits(value: Option<f64>) -> String {
    value.map_or_else(String::new, in_digits)
}

fn spread(value: Option<Spread>) -> String {
    value.map_or_else(String::new, in_figures)
}

/// Who was compared.
#[must_use]
pub fn contenders(comparison: &Comparison) -> String {
    let head = ["contender", "set to", "seconds of load before"].map(str::to_owned);
    let rows: String = comparison
        .contenders
        .iter()
        .map(|one| row("td", [one.name.clone(), one.told.clone(), one.warmup_s.to_string()]))
        .collect();
    table(head, &rows)
}

/// What the bare device does.
#[must_use]
pub fn device(report: &DeviceReport) -> String {
    let head = DEVICE_HEADINGS.map(str::to_owned);
    let rows: String = report.cells.iter().map(|cell| row("td", cell.texts())).collect();
    table(head, &rows)
}

/// The contenders' medians beside each other, and the ratios.
#[must_use]
pub fn compared(line: &ComparedLine, names: &[&str]) -> String {
    let own = names.first().copied().unwrap_or_default();
    let mut head = vec!["median (lowest..highest)".to_owned()];
    head.extend(names.iter().map(|&name| name.to_owned()));
    head.extend(names.iter().skip(1).map(|name| format!("{own} / {name}")));
    head.extend(names.iter().skip(1).map(|name| format!("{own} / {name}, pair by pair")));
    let rows: String = line
        .figures
        .iter()
        .map(|figure| {
            let mut cells = vec![format!("{}, {}", figure.name, figure.unit)];
            cells.extend(figure.reached.iter().copied().map(spread));
            cells.extend(figure.ratios.iter().map(|one| spread(one.spread)));
            let pairs = |pairs: &[f64]| pairs.iter().copied().map(in_digits).collect::<Vec<_>>();
            cells.extend(figure.ratios.iter().map(|one| pairs(&one.pairs).join(" ")));
            row("td", cells)
        })
        .collect();
    table(head, &rows)
}

/// Every measurement of the group; folded away where their medians stand above.
#[must_use]
pub fn measurements(group: &Group<'_>) -> String {
    let rows: Vec<Vec<String>> = group
        .members
        .iter()
        .map(|member| cells(member.label_with_round(), member.measurement))
        .collect();
    // Columns that nobody fills are left out.
    let is_kept = |at: &usize| rows.iter().any(|row| row.get(*at).is_some_and(|c| !c.is_empty()));
    let kept: Vec<usize> = (0..HEADINGS.len()).filter(|at| *at == 0 || is_kept(at)).collect();
    let pick = |row: &[String]| -> Vec<String> {
        kept.iter().filter_map(|&at| row.get(at).cloned()).collect()
    };
    let head: Vec<String> = HEADINGS.iter().map(|&heading| heading.to_owned()).collect();
    let body: String = rows.iter().map(|cells| row("td", pick(cells))).collect();
    let table = table(pick(&head), &body);
    let problems = problems(group);
    if group.compared.is_some() {
        format!("{problems}<details><summary>Every round</summary>\n{table}</details>\n")
    } else {
        format!("{problems}{table}")
    }
}

fn problems(group: &Group<'_>) -> String {
    let unclean = group.members.iter().filter(|member| !member.measurement.problems.is_empty());
    let told = unclean.map(|member| {
        let told = format!("{}: {}", member.label_with_round(), member.measurement.problems);
        format!("<p class=\"problem\">{}</p>\n", Text(told.trim()))
    });
    told.collect()
}

fn cells(label: String, one: &Measurement) -> Vec<String> {
    let of = |flow: &Option<Flow>, of: fn(&Flow) -> f64| digits(flow.as_ref().map(of));
    let latency = one.latency().map(|latency| latency.summary);
    let server = one.server;
    let more =
        |Figure { name, value, unit }: &Figure| format!("{name} {} {unit}", in_digits(*value));
    vec![
        label,
        of(&one.produced, |flow| flow.mb_per_s),
        of(&one.produced, |flow| flow.requests_per_s),
        of(&one.fetched, |flow| flow.mb_per_s),
        digits(latency.map(|latency| latency.p50_us)),
        digits(latency.map(|latency| latency.p90_us)),
        digits(latency.map(|latency| latency.p99_us)),
        digits(latency.map(|latency| latency.p99_9_us)),
        digits(latency.map(|latency| latency.p99_99_us)),
        digits(latency.map(|latency| latency.max_us)),
        digits(server.and_then(|server| server.cpu_us_per_mb_produced)),
        digits(server.and_then(|server| server.cpu_us_per_mb_fetched)),
        digits(server.and_then(|server| server.cpu_us_per_request)),
        digits(server.map(|server| float(server.resident_bytes) / (1024.0 * 1024.0))),
        digits(one.rate.map(|rate| rate.achieved * 100.0)),
        digits(one.ceiling.map(|ceiling| ceiling.headroom)),
        one.figures.iter().map(more).collect::<Vec<_>>().join("; "),
        if one.problems.is_empty() { String::new() } else { "yes, see above".to_owned() },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;
    use crate::report::html::groups::groups;
    use crate::report::measurement::tests::measurement;

    #[test]
    fn every_cell_has_a_heading_and_columns_without_a_figure_are_left_out() {
        assert_eq!(cells(String::new(), &measurement(1)).len(), HEADINGS.len());
        let report = Report::new("produce", &(), vec![measurement(10)], Vec::new());
        let table = measurements(&groups(&report)[0]);
        assert!(table.contains("<th>CPU us/request</th>"), "{table}");
        assert!(!table.contains("MB/s out") && !table.contains("headroom"), "{table}");
    }

    #[test]
    fn a_problem_is_told_above_the_table() {
        let mut one = measurement(10);
        one.problems.repeated_offsets = 3;
        let report = Report::new("produce", &(), vec![one], Vec::new());
        let table = measurements(&groups(&report)[0]);
        assert!(
            table.starts_with("<p class=\"problem\">") && table.contains("3 batches"),
            "{table}"
        );
    }
}
