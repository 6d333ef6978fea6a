//! The form of a golden script.

/// A line of a file that is not an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A comment or an empty line, kept as it is.
    Text(String),
    /// A statement of a session.
    Step(Step),
}

/// A statement of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The session's name.
    pub(super) session: String,
    /// Whether to wait until it ends, locks or not.
    pub(super) to_the_end: bool,
    /// One or more statements, sent as one message.
    pub(super) sql: String,
}

/// A file without its answers.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) lines: Vec<Line>,
}

impl Script {
    /// Reads a file; answers, the lines that are indented by two, are left out.
    pub(super) fn parse(text: &str) -> Result<Script, String> {
        let mut lines = Vec::new();
        for (index, line) in text.lines().enumerate() {
            if line.starts_with("  ") {
                continue;
            }
            if line.is_empty() || line.starts_with('#') {
                lines.push(Line::Text(line.to_owned()));
                continue;
            }
            let (session, sql) = line
                .split_once(": ")
                .ok_or_else(|| format!("line {}: neither `session: statement` nor `# ...`", index + 1))?;
            let to_the_end = session.ends_with('!');
            let session = session.trim_end_matches('!').to_owned();
            if session.is_empty() || !session.chars().all(|c| c.is_ascii_alphanumeric()) {
                return Err(format!("line {}: `{session}` does not name a session", index + 1));
            }
            lines.push(Line::Step(Step { session, to_the_end, sql: sql.to_owned() }));
        }
        Ok(Script { lines })
    }

    /// The first line.
    pub(super) fn comment(&self) -> &str {
        match self.lines.first() {
            Some(Line::Text(text)) => text,
            _ => "",
        }
    }
}

impl Step {
    /// The line as the file has it.
    pub(super) fn line(&self) -> String {
        format!("{}{}: {}\n", self.session, if self.to_the_end { "!" } else { "" }, self.sql)
    }
}
