//! The `.properties` file format, as Java reads it.
//!
//! A logical line is `key = value`, `key : value` or `key value`. A line whose first mark is `#`
//! or `!` is a comment. A backslash at the end continues the line on the next one, whose leading
//! blanks are dropped; elsewhere it escapes: `\t`, `\n`, `\r`, `\f`, `\uXXXX`, and any other
//! character stands for itself. The file is UTF-8.

use std::iter::Peekable;
use std::str::Chars;

/// One setting of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Property {
    /// The key, escapes resolved; not empty.
    pub(super) key: String,
    /// The value, escapes resolved; blanks at its end are kept, as in Java.
    pub(super) value: String,
    /// The line it begins on, counted from 1.
    pub(super) line: u32,
}

/// Why a line is not a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PropertiesProblem {
    /// A `\u` without four hexadecimal digits, or one that is no character by itself.
    #[error("\\u must be followed by four hexadecimal digits that make one character")]
    UnicodeEscape,
    /// A value without a key.
    #[error("there is no key before the separator")]
    EmptyKey,
}

/// Reads all settings of a file. Lines that cannot be read are errors of their own; the others are
/// read all the same.
pub(super) fn parse(text: &str) -> (Vec<Property>, Vec<(u32, PropertiesProblem)>) {
    let mut properties = Vec::new();
    let mut problems = Vec::new();
    for (line, logical) in logical_lines(text) {
        match parse_line(&logical) {
            Ok((key, value)) => properties.push(Property { key, value, line }),
            Err(problem) => problems.push((line, problem)),
        }
    }
    (properties, problems)
}

/// Joins continued lines; leaves out blank lines and comments. Line numbers are of first lines.
fn logical_lines(text: &str) -> Vec<(u32, String)> {
    let mut logical: Vec<(u32, String)> = Vec::new();
    let mut continuing = false;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, raw) in (1_u32..).zip(text.split('\n')) {
        let raw = raw.strip_suffix('\r').unwrap_or(raw);
        let line = raw.trim_start_matches(is_blank);
        if !continuing && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        // An odd number of backslashes at the end: the last one is not itself escaped.
        let backslashes = line.len() - line.trim_end_matches('\\').len();
        let continued = backslashes % 2 == 1;
        let part = if continued { line.strip_suffix('\\').unwrap_or(line) } else { line };
        match logical.last_mut() {
            Some((_, open)) if continuing => open.push_str(part),
            _ => logical.push((number, part.to_owned())),
        }
        continuing = continued;
    }
    logical
}

fn parse_line(line: &str) -> Result<(String, String), PropertiesProblem> {
    let mut chars = line.chars().peekable();
    let mut key = String::new();
    while let Some(&next) = chars.peek() {
        if is_blank(next) || next == '=' || next == ':' {
            break;
        }
        key.push(next_char(&mut chars)?);
    }
    skip_blanks(&mut chars);
    if chars.next_if(|next| matches!(next, '=' | ':')).is_some() {
        skip_blanks(&mut chars);
    }
    let mut value = String::new();
    while chars.peek().is_some() {
        value.push(next_char(&mut chars)?);
    }
    if key.is_empty() { Err(PropertiesProblem::EmptyKey) } else { Ok((key, value)) }
}

/// The next character, an escape resolved. There is one.
fn next_char(chars: &mut Peekable<Chars<'_>>) -> Result<char, PropertiesProblem> {
    let next = chars.next().unwrap_or_default();
    if next != '\\' {
        return Ok(next);
    }
    Ok(match chars.next() {
        Some('t') => '\t',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('f') => '\u{c}',
        Some('u') => {
            let mut code = 0;
            for _ in 0..4 {
                let digit = chars.next().and_then(|digit| digit.to_digit(16));
                code = code * 16 + digit.ok_or(PropertiesProblem::UnicodeEscape)?;
            }
            char::from_u32(code).ok_or(PropertiesProblem::UnicodeEscape)?
        }
        Some(other) => other,
        // Only a file's very last character can be a lone backslash: it continues nothing.
        None => '\\',
    })
}

fn skip_blanks(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|&next| is_blank(next)).is_some() {}
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String, u32)> {
        let (properties, problems) = parse(text);
        assert_eq!(problems, vec![], "{text:?}");
        properties.into_iter().map(|p| (p.key, p.value, p.line)).collect()
    }

    fn pair(key: &str, value: &str, line: u32) -> (String, String, u32) {
        (key.to_owned(), value.to_owned(), line)
    }

    #[test]
    fn equals_colon_and_blank_separate_key_and_value() {
        let text = "a=1\nb : 2\nc 3\n  d\t=\t4\ne\nf=\ng==x:y z \n";
        let expected = vec![
            pair("a", "1", 1),
            pair("b", "2", 2),
            pair("c", "3", 3),
            pair("d", "4", 4),
            pair("e", "", 5),
            pair("f", "", 6),
            pair("g", "=x:y z ", 7),
        ];
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn comments_and_blank_lines_are_left_out_and_counted() {
        let text = "\u{feff}# one\r\n\r\n  ! two\r\na=1 # not a comment\r\n";
        assert_eq!(pairs(text), vec![pair("a", "1 # not a comment", 4)]);
    }

    #[test]
    fn an_odd_backslash_at_the_end_continues_the_line() {
        let text = "a=one,\\\n    two,\\\n# three\nb=x\\\\\nc=last\\";
        let expected =
            vec![pair("a", "one,two,# three", 1), pair("b", "x\\", 4), pair("c", "last", 5)];
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn escapes_stand_for_their_characters_in_keys_and_values() {
        let text = "a\\=b\\ c=\\t\\u00e9\\q\\n\n";
        assert_eq!(pairs(text), vec![pair("a=b c", "\té\u{71}\n", 1)]);
    }

    #[test]
    fn broken_lines_are_reported_with_their_number_and_the_others_are_read() {
        let (properties, problems) = parse("=x\na=\\u12\nb=\\ud800\nc=3");
        assert_eq!(properties.len(), 1);
        assert_eq!(
            problems,
            vec![
                (1, PropertiesProblem::EmptyKey),
                (2, PropertiesProblem::UnicodeEscape),
                (3, PropertiesProblem::UnicodeEscape)
            ]
        );
    }
}
