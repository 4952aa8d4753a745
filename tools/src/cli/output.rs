//! How things are printed.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, json};

use super::CliError;

/// Prints a value as JSON on a line of its own.
pub(super) fn print_json(out: &mut impl Write, value: &impl Serialize) -> Result<(), CliError> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)?;
    Ok(())
}

/// Prints rows under their heads, each column as wide as it must be.
pub(super) fn print_table(
    out: &mut impl Write,
    heads: &[&str],
    rows: &[Vec<String>],
) -> io::Result<()> {
    let mut widths: Vec<usize> = heads.iter().map(|head| head.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    writeln!(out, "{}", line(heads.to_vec()))?;
    for row in rows {
        writeln!(out, "{}", line(row.iter().map(String::as_str).collect()))?;
    }
    Ok(())
}

/// Bytes as JSON: text where they are UTF-8, else `{"hex": "..."}`; null stays null.
pub(super) fn bytes_json(bytes: Option<&[u8]>) -> Value {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => Value::Null,
        Some((_, Ok(text))) => Value::from(text),
        Some((bytes, Err(_))) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "hex": hex })
        }
    }
}

/// Bytes for people: text, with what is no text escaped.
pub(super) fn bytes_text(bytes: Option<&[u8]>) -> String {
    bytes.map_or("null".to_owned(), |bytes| bytes.escape_ascii().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut out = Vec::new();
        let rows = [vec!["a".into(), "1".into()], vec!["long".into(), "2".into()]];
        print_table(&mut out, &["NAME", "N"], &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "NAME  N\na     1\nlong  2\n");
    }

    #[test]
    fn bytes_that_are_no_text_are_hex_in_json() {
        assert_eq!(bytes_json(Some(b"text")), json!("text"));
        assert_eq!(bytes_json(Some(&[0xff, 1])), json!({ "hex": "ff01" }));
        assert_eq!(bytes_json(None), Value::Null);
    }
}
