//! A comparison as people read it.

use std::fmt;

use super::{ComparedFigure, ComparedLine, Comparison, ContenderReport, Run, Spread};

impl Comparison {
    /// A sentence for each line and rival.
    #[must_use]
    pub fn in_words(&self) -> Vec<String> {
        let lines = self.lines();
        let rivals = |line| (1..self.contenders.len()).map(move |rival| (line, rival));
        lines
            .iter()
            .flat_map(rivals)
            .filter_map(|(line, rival)| self.sentence(line, rival))
            .collect()
    }

    fn sentence(&self, line: &ComparedLine, rival: usize) -> Option<String> {
        let (own, other) = (&self.contenders.first()?.name, &self.contenders.get(rival)?.name);
        let told: Vec<String> = line
            .figures
            .iter()
            .filter(|figure| !(line.keeps_a_rate && figure.name == "throughput"))
            .filter(|figure| !["p50", "p99.9"].contains(&figure.name))
            .filter_map(|figure| {
                let spread = figure.ratios.get(rival - 1)?.spread?;
                let Spread { median, min, max } = spread;
                let [median, min, max] = [median, min, max].map(in_digits);
                Some(format!("{} {median} x ({min} to {max})", figure.name))
            })
            .collect();
        if told.is_empty() {
            // One of them broke off in every round, or has no such line.
            return None;
        }
        let at_a_rate = if line.keeps_a_rate { " at the same rate" } else { "" };
        let (scenario, name, told) = (line.scenario, &line.name, told.join(", "));
        Some(format!("{scenario}, {name}: {own} over {other}{at_a_rate}: {told}."))
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ContenderReport { name, told, warmup_s, .. } in &self.contenders {
            writeln!(f, "{name:<16} {told}; {warmup_s} s of load before")?;
        }
        for line in self.lines() {
            writeln!(f, "\n{}: {}", line.scenario, line.name)?;
            self.table(f, &line)?;
        }
        for Run { scenario, contender, round, measurement } in &self.runs {
            if !measurement.problems.is_empty() {
                let name = self.contenders.get(*contender).map_or("", |one| &one.name);
                writeln!(f, "\n{scenario}: {}, {name}, round {round}", measurement.name)?;
                write!(f, "{}", measurement.problems)?;
            }
        }
        Ok(())
    }
}

impl Comparison {
    /// A row for each figure, with what each contender reached; below it the ratios.
    fn table(&self, f: &mut fmt::Formatter<'_>, line: &ComparedLine) -> fmt::Result {
        write!(f, "  {:<24}", "median (lowest..highest)")?;
        for one in &self.contenders {
            write!(f, "  {:>30}", one.name)?;
        }
        writeln!(f)?;
        for figure in &line.figures {
            write!(f, "  {:<24}", format!("{} {}", figure.name, figure.unit))?;
            for reached in &figure.reached {
                write!(f, "  {:>30}", reached.map_or_else(|| "-".to_owned(), in_figures))?;
            }
            writeln!(f)?;
        }
        for (rival, one) in self.contenders.iter().enumerate().skip(1) {
            let has_any = |figure: &ComparedFigure| {
                figure.ratios.get(rival - 1).is_some_and(|ratio| ratio.spread.is_some())
            };
            if !line.figures.iter().any(has_any) {
                continue;
            }
            let own = self.contenders.first().map_or("", |own| &own.name);
            writeln!(f, "  {own} / {}", one.name)?;
            for figure in &line.figures {
                let Some(ratio) = figure.ratios.get(rival - 1) else { continue };
                let Some(Spread { median, min, max }) = ratio.spread else { continue };
                let [median, min, max] = [median, min, max].map(in_digits);
                let pairs: Vec<String> = ratio.pairs.iter().copied().map(in_digits).collect();
                writeln!(
                    f,
                    "    {:<22}  {median:>6} x ({min}..{max})   pair by pair {}",
                    figure.name,
                    pairs.join(" ")
                )?;
            }
        }
        Ok(())
    }
}

/// A spread as people read it.
#[must_use]
pub fn in_figures(spread: Spread) -> String {
    let [median, min, max] = [spread.median, spread.min, spread.max].map(in_digits);
    format!("{median} ({min}..{max})")
}

/// A figure with about three digits, however large or small it is.
#[must_use]
pub fn in_digits(figure: f64) -> String {
    let digits = match figure.abs() {
        0.0 => 0,
        ..0.1 => 4,
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{figure:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_ratio_does_not_read_as_nothing() {
        assert_eq!(in_digits(0.0023), "0.0023");
        assert_eq!(in_digits(0.0), "0");
        assert_eq!(in_digits(2.345), "2.35");
        assert_eq!(in_digits(1234.5), "1234");
    }
}
