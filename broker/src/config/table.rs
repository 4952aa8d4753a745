//! The key tables as text: what `ringlog --help-config` prints.

use std::fmt::Write as _;

use super::keys::{BROKER_KEYS, DefaultValue, TOPIC_KEYS, documentation};

const WIDTH: usize = 96;

/// Every key with its default, its allowed values and its meaning, as plain text.
#[must_use]
pub fn help_config() -> String {
    let mut text = String::from(
        "BROKER KEYS\nSet with --set KEY=VALUE, RINGLOG_KEY=VALUE or a line of the --config file;\n\
         read when the broker starts. Sizes are plain bytes, durations plain numbers of the \
         unit in the name; suffixes are not read.\n",
    );
    for key in BROKER_KEYS {
        let default = match key.default {
            DefaultValue::Text(default) => default.to_owned(),
            DefaultValue::Computed(how) => how.to_owned(),
            DefaultValue::Absent => "not set".to_owned(),
        };
        let doc = match (key.alias, key.topic_key) {
            (Some(alias), _) if alias.scale == 1 => {
                format!("Another name of {}.", alias.of)
            }
            (Some(alias), _) => format!("Sets {} in another unit.", alias.of),
            (None, Some(topic)) => format!("The default of the topic configuration {topic}."),
            (None, None) => documentation(key.doc, key.effect),
        };
        entry(&mut text, key.name, &default, &key.kind.to_string(), &doc);
    }
    text.push_str(
        "\nTOPIC CONFIGURATIONS\nSet per topic when it is created or altered; a topic that does \
         not set one follows the broker key.\n",
    );
    for key in TOPIC_KEYS {
        let default = format!("{} ({})", key.default, key.broker_key);
        let doc = documentation(key.doc, key.effect);
        entry(&mut text, key.name, &default, &key.kind.to_string(), &doc);
    }
    text
}

fn entry(text: &mut String, name: &str, default: &str, allowed: &str, doc: &str) {
    // Writing to a String cannot fail.
    let _ = write!(text, "\n{name}\n    default: {default}\n    allowed: {allowed}\n");
    let mut line = String::new();
    for word in doc.split_whitespace() {
        if !line.is_empty() && line.len() + word.len() + 5 > WIDTH {
            let _ = writeln!(text, "    {line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(text, "    {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_in_the_table_and_no_prose_line_is_too_wide() {
        let text = help_config();
        for name in BROKER_KEYS.iter().map(|key| key.name).chain(TOPIC_KEYS.iter().map(|k| k.name))
        {
            assert!(text.contains(&format!("\n{name}\n")), "{name}");
        }
        for line in text.lines().filter(|line| line.starts_with("    ")) {
            assert!(line.len() <= 120, "{line}");
        }
    }
}
