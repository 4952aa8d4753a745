//! Reports as one HTML page that needs nothing else: no script, no style sheet, no font, no image
//! is loaded.
//!
//! | module | holds |
//! |---|---|
//! | [`tables`] | the figures |
//! | [`plots`] | drawings of them, as SVG within the page |
//! | [`groups`] | which measurements are drawn together |

pub mod groups;
pub mod plots;
pub mod tables;

use std::fmt::{self, Write};

use self::groups::Group;
use super::Report;
use crate::error::BenchError;

const STYLE: &str = "\
body { font: 15px/1.45 sans-serif; margin: 2em auto; max-width: 80em; padding: 0 1em; color: #222 }
h2 { border-bottom: 1px solid #ccc; margin-top: 2em }
table { border-collapse: collapse; margin: 1em 0; display: block; overflow-x: auto }
th, td { border: 1px solid #ddd; padding: .25em .6em; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
th { background: #f4f4f4 }
.plots { display: flex; flex-wrap: wrap; gap: 1em }
svg { max-width: 100%; height: auto }
.problem { color: #b00020; font-weight: bold }
pre { background: #f4f4f4; overflow-x: auto; padding: .6em }";

/// Text as it stands in a page, whatever is in it.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a>(pub &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// A page with all of `reports`.
///
/// # Errors
///
/// [`BenchError::Plot`] if a plot cannot be drawn.
pub fn page(reports: &[Report]) -> Result<String, BenchError> {
    let names: Vec<&str> = reports.iter().map(|report| report.scenario).collect();
    let title = format!("ringlog-bench: {}", names.join(", "));
    let mut sections = String::new();
    for report in reports {
        sections.push_str(&section(report)?);
    }
    let title = Text(&title);
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
         {sections}</body>\n</html>\n"
    ))
}

fn section(report: &Report) -> Result<String, BenchError> {
    let Report { scenario, environment: here, verdict, settings, .. } = report;
    let machine = format!(
        "load from {}, {} cores, Linux {} | ringlog-bench {} ({})",
        here.processor, here.cores, here.kernel, here.version, here.commit
    );
    let sentence = |sentence: &String| format!("<li>{}</li>\n", Text(sentence));
    let verdict: String = verdict.iter().map(sentence).collect();
    let settings = format!("{settings:#}");
    let mut body = String::new();
    if let Some(comparison) = &report.comparison {
        body.push_str(&tables::contenders(comparison));
    }
    if let Some(device) = &report.device {
        body.push_str(&tables::device(device));
    }
    for group in groups::groups(report) {
        body.push_str(&drawn(&group)?);
    }
    Ok(format!(
        "<section>\n<h2>{}</h2>\n<p>{}</p>\n<ul>\n{verdict}</ul>\n{body}\
         <details><summary>Settings</summary><pre>{}</pre></details>\n</section>\n",
        Text(scenario),
        Text(&machine),
        Text(&settings)
    ))
}

/// A group's tables, and its plots beside each other.
fn drawn(group: &Group<'_>) -> Result<String, BenchError> {
    let heading =
        group.title.as_ref().map_or_else(String::new, |t| format!("<h3>{}</h3>\n", Text(t)));
    let mut html = heading;
    if let Some(line) = &group.compared {
        html.push_str(&tables::compared(line, &group.names));
    }
    html.push_str(&tables::measurements(group));
    html.push_str("<div class=\"plots\">\n");
    for (title, bars) in group.bars() {
        html.push_str(&plots::bars(&title, &bars)?);
    }
    let curves = group.curves();
    if !curves.is_empty() {
        html.push_str(&plots::percentiles("latency by percentile", &curves)?);
        let slowest_us = curves.iter().map(|curve| curve.latency.summary.max_us);
        let slowest_us = slowest_us.fold(1.0, f64::max);
        for curve in curves.iter().filter(|curve| !curve.latency.by_second.is_empty()) {
            let title = format!("latency by second: {}", curve.label_with_round());
            html.push_str(&plots::seconds(&title, &curve.latency.by_second, slowest_us)?);
        }
    }
    html.push_str("</div>\n");
    Ok(html)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::measurement::tests::measurement;

    #[test]
    fn text_cannot_become_markup() {
        let told = Text("<script>alert(\"a\" & 'b')</script>").to_string();
        assert_eq!(told, "&lt;script&gt;alert(&quot;a&quot; &amp; &#39;b&#39;)&lt;/script&gt;");
        let mut one = measurement(100);
        one.name = "<b>\"line\"".to_owned();
        let settings = serde_json::json!({"topic": "</pre><script>"});
        let verdict = vec!["a < b & c".to_owned()];
        let report = Report::new("produce", &settings, vec![one], verdict);
        let page = page(&[report]).unwrap();
        assert!(page.contains("a &lt; b &amp; c") && page.contains("&lt;b&gt;"), "{page}");
        assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
    }

    #[test]
    fn a_page_loads_nothing_and_has_every_plot() {
        let report = Report::new("produce", &(), vec![measurement(1000)], Vec::new());
        let page = page(&[report]).unwrap();
        for plot in ["throughput", "server CPU", "latency by percentile", "latency by second"] {
            assert!(page.contains(plot), "{plot}: {page}");
        }
        // Namespaces are names: nothing is fetched from there.
        let rest = page.replace("http://www.w3.org/2000/svg", "");
        for loads in ["http:", "https:", "src=", "href=", "url(", "@import", "<script"] {
            assert!(!rest.contains(loads), "{loads}");
        }
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        assert_eq!(page.matches("<svg").count(), 4);
    }
}
