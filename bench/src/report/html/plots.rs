//! The plots of the page: each is an SVG image that stands in it.

use std::fmt::Display;

use plotters::prelude::*;

use super::groups::{Bar, Curve};
use crate::error::BenchError;
use crate::histogram::{LatencyReport, SecondSummary};
use crate::report::comparison::text::in_digits;
use crate::report::measurement::{float, float_of};
use crate::scenario::in_words;

/// Pixels of a plot.
const WIDTH: u32 = 620;
const HEIGHT: u32 = 340;
/// Pixels of a bar, and of all that is not a bar.
const BAR_HEIGHT: u32 = 26;
const BARS_FRAME: u32 = 70;
const FONT: &str = "sans-serif";
/// Points of a curve: more cannot be told apart.
const POINTS: u32 = 240;
/// Nobody asks for more nines than this.
const ONE_IN_MAX: f64 = 1e6;

/// Colours that colour-blind people can tell apart too.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
    RGBColor(148, 103, 40),
];

fn colour(number: usize) -> RGBColor {
    COLOURS[number % COLOURS.len()]
}

/// Horizontal bars from 0, with what they are of and how much written on them.
///
/// # Errors
///
/// [`BenchError::Plot`].
pub fn bars(title: &str, bars: &[Bar]) -> Result<String, BenchError> {
    let failed = |error: &dyn Display| failure(title, error);
    let count = u32::try_from(bars.len()).unwrap_or(u32::MAX);
    let height = BARS_FRAME.saturating_add(count.saturating_mul(BAR_HEIGHT));
    let longest = bars.iter().map(|bar| bar.2).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .caption(title, (FONT, 15))
            .margin(8)
            .margin_left(20)
            .x_label_area_size(28)
            .build_cartesian_2d(0.0..longest * 1.02, f64::from(count)..0.0)
            .map_err(|error| failed(&error))?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .x_labels(6)
            .x_label_formatter(&|value| in_digits(*value))
            .light_line_style(WHITE.mix(0.0))
            .draw()
            .map_err(|error| failed(&error))?;
        for (place, (label, number, value)) in bars.iter().enumerate() {
            let top = float_of(place);
            let corners = [(0.0, top + 0.12), (*value, top + 0.88)];
            let bar = Rectangle::new(corners, colour(*number).mix(0.45).filled());
            let told = format!("{label}: {}", in_digits(*value));
            let text = plotters::element::Text::new(told, (longest * 0.01, top + 0.3), (FONT, 13));
            chart.draw_series([bar]).map_err(|error| failed(&error))?;
            chart.draw_series([text]).map_err(|error| failed(&error))?;
        }
        area.present().map_err(|error| failed(&error))?;
    }
    Ok(svg + "\n")
}

/// Latencies over how many requests are as slow: one in ten, in a hundred, in a thousand.
///
/// # Errors
///
/// [`BenchError::Plot`].
pub fn percentiles(title: &str, curves: &[Curve<'_>]) -> Result<String, BenchError> {
    let failed = |error: &dyn Display| failure(title, error);
    let counts = curves.iter().map(|curve| float(curve.latency.summary.count));
    let one_in = counts.fold(10.0, f64::max).min(ONE_IN_MAX);
    let points: Vec<Vec<(f64, f64)>> =
        curves.iter().map(|curve| percentile_points(curve.latency)).collect();
    let (low, high) = bounds_us(points.iter().flatten().map(|point| point.1));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .caption(title, (FONT, 15))
            .margin(8)
            .x_label_area_size(32)
            .y_label_area_size(64)
            .build_cartesian_2d((1.0..one_in).log_scale(), (low..high).log_scale())
            .map_err(|error| failed(&error))?;
        chart
            .configure_mesh()
            .x_labels(8)
            .x_label_formatter(&|one_in| percentile(*one_in))
            .y_label_formatter(&|micros| in_words(*micros))
            .light_line_style(WHITE.mix(0.0))
            .draw()
            .map_err(|error| failed(&error))?;
        let mut labelled = Vec::new();
        for (curve, points) in curves.iter().zip(points) {
            let member = curve.member;
            let colour = colour(member.colour);
            let line = chart
                .draw_series(LineSeries::new(points, colour.stroke_width(2)))
                .map_err(|error| failed(&error))?;
            // The rounds of a contender share a line of the legend.
            if !labelled.contains(&member.label) {
                labelled.push(member.label);
                line.label(member.label).legend(move |(x, y)| legend(x, y, colour));
            }
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .label_font((FONT, 12))
            .draw()
            .map_err(|error| failed(&error))?;
        area.present().map_err(|error| failed(&error))?;
    }
    Ok(svg + "\n")
}

/// A line of the plot over time, and its figure of each second.
type Kind = (&'static str, fn(&SecondSummary) -> f64);

/// What was due in each second: the middle, the 99th percentile and the slowest. `slowest_us` is
/// that of all plots that stand beside this one.
///
/// # Errors
///
/// [`BenchError::Plot`].
pub fn seconds(
    title: &str,
    seconds: &[SecondSummary],
    slowest_us: f64,
) -> Result<String, BenchError> {
    let failed = |error: &dyn Display| failure(title, error);
    let seconds: Vec<&SecondSummary> = seconds.iter().filter(|one| one.count > 0).collect();
    let last = seconds.last().map_or(1.0, |one| float_of(one.second)).max(1.0);
    let fastest = seconds.iter().map(|one| one.p50_us);
    let (low, high) = bounds_us(fastest.chain([slowest_us]));
    let kinds: [Kind; 3] =
        [("max", |one| one.max_us), ("p99", |one| one.p99_us), ("p50", |one| one.p50_us)];
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .caption(title, (FONT, 15))
            .margin(8)
            .x_label_area_size(32)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..last, (low..high).log_scale())
            .map_err(|error| failed(&error))?;
        chart
            .configure_mesh()
            .x_labels(8)
            .x_label_formatter(&|second| whole_second(*second))
            .y_label_formatter(&|micros| in_words(*micros))
            .light_line_style(WHITE.mix(0.0))
            .draw()
            .map_err(|error| failed(&error))?;
        for (number, (name, of)) in kinds.into_iter().enumerate() {
            let colour = colour(number + 1);
            let points = seconds.iter().map(|one| (float_of(one.second), of(one).max(low)));
            chart
                .draw_series(LineSeries::new(points, colour.stroke_width(2)).point_size(2))
                .map_err(|error| failed(&error))?
                .label(name)
                .legend(move |(x, y)| legend(x, y, colour));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.85))
            .label_font((FONT, 12))
            .draw()
            .map_err(|error| failed(&error))?;
        area.present().map_err(|error| failed(&error))?;
    }
    Ok(svg + "\n")
}

fn legend(x: i32, y: i32, colour: RGBColor) -> PathElement<(i32, i32)> {
    PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2))
}

fn failure(title: &str, error: &dyn Display) -> BenchError {
    BenchError::Plot { title: title.to_owned(), what: error.to_string() }
}

/// `90 %` where one in ten is slower.
fn percentile(one_in: f64) -> String {
    if one_in <= 1.0 {
        return "0 %".to_owned();
    }
    let nines = one_in.log10();
    // Only whole powers of ten have a percentile with a name.
    if (nines - nines.round()).abs() > 1e-6 {
        return String::new();
    }
    // A digit after the point for each nine beyond two.
    let digits = (3..=7).take_while(|&power| f64::from(power) <= nines.round()).count();
    format!("{:.digits$} %", 100.0 - 100.0 / one_in)
}

/// The name of a whole second; halves have none.
fn whole_second(second: f64) -> String {
    let is_whole = (second - second.round()).abs() < 1e-6;
    if is_whole { format!("{second:.0} s") } else { String::new() }
}

/// The latency that one in `x` requests exceeds, for `x` on an axis with logarithmic steps.
fn percentile_points(latency: &LatencyReport) -> Vec<(f64, f64)> {
    let count = float(latency.summary.count);
    let one_in_max = count.clamp(1.0, ONE_IN_MAX);
    let mut buckets = latency.histogram_us.iter();
    let mut bucket = buckets.next();
    let mut below = bucket.map_or(0.0, |bucket| float(bucket.1));
    let mut points = Vec::new();
    for step in 0..=POINTS {
        let one_in = one_in_max.powf(f64::from(step) / f64::from(POINTS));
        let wanted = (count - count / one_in).max(1.0);
        while below < wanted
            && let Some(next) = buckets.next()
        {
            below += float(next.1);
            bucket = Some(next);
        }
        if let Some((micros, _)) = bucket {
            points.push((one_in, *micros));
        }
    }
    points
}

/// An axis with room for all of `micros`.
fn bounds_us(micros: impl Iterator<Item = f64>) -> (f64, f64) {
    let start = (f64::MAX, 1.0_f64);
    let (low, high) = micros.fold(start, |(low, high), one| (low.min(one), high.max(one)));
    let low = low.clamp(0.1, high) / 1.3;
    (low, high.max(low * 10.0) * 1.3)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::histogram::Latencies;

    #[test]
    fn percentiles_have_the_names_that_people_use() {
        let names = [1.0, 10.0, 100.0, 1000.0, 10_000.0, 100_000.0].map(percentile);
        assert_eq!(names, ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"]);
        assert_eq!(percentile(20.0), "");
    }

    #[test]
    fn a_curve_rises_from_the_fastest_to_the_slowest() {
        let mut latencies = Latencies::default();
        for micros in 1..=1000 {
            latencies.record(Duration::ZERO, Duration::from_micros(micros));
        }
        let points = percentile_points(&latencies.report());
        assert!(points.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1), "{points:?}");
        let near = |at: f64| {
            points.iter().min_by(|a, b| (a.0 - at).abs().total_cmp(&(b.0 - at).abs())).unwrap().1
        };
        assert!((near(10.0) - 900.0).abs() < 10.0, "{}", near(10.0));
        assert!((near(100.0) - 990.0).abs() < 5.0, "{}", near(100.0));
        assert!((points.last().unwrap().1 - 1000.0).abs() < 2.0, "{points:?}");
    }

    #[test]
    fn nothing_and_next_to_nothing_can_be_drawn() {
        assert!(bars("none", &[]).is_ok());
        assert!(bars("zero", &[("a".to_owned(), 0, 0.0)]).is_ok());
        assert!(percentiles("none", &[]).is_ok());
        assert!(seconds("none", &[], 1.0).is_ok());
        assert_eq!(bounds_us(std::iter::empty()), bounds_us([1.0].into_iter()));
    }
}
