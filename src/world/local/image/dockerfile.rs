//! Parses a Dockerfile into instructions, with the line each starts on. Knows the meaning of none.

use crate::effect::{EffectError, ErrorKind};

/// One instruction: a keyword and its arguments, continuation lines joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    /// The keyword in capitals.
    pub(crate) keyword: String,
    pub(crate) rest: String,
    pub(crate) location: SourceLocation,
}

/// Where an instruction starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceLocation {
    pub(crate) file: String,
    /// The line, counted from 1.
    pub(crate) line: usize,
}

impl SourceLocation {
    pub(crate) fn invalid(&self, what: impl std::fmt::Display) -> EffectError {
        EffectError::new(ErrorKind::Invalid, format!("{}:{}: {what}", self.file, self.line)).not_applied()
    }

    pub(crate) fn unsupported(&self, what: impl std::fmt::Display) -> EffectError {
        EffectError::new(ErrorKind::Unsupported, format!("{}:{}: {what}", self.file, self.line))
            .hint("remove the instruction, or deploy with `--engine docker`")
            .not_applied()
    }
}

impl Instruction {
    /// Returns the list of a JSON form such as `["a", "b"]`, or `None`.
    pub(crate) fn json(&self) -> Option<Vec<String>> {
        if self.rest.starts_with('[') { serde_json::from_str(&self.rest).ok() } else { None }
    }

    /// Returns the leading flags `--name=value` and the rest.
    pub(crate) fn flags(&self) -> (Vec<(&str, &str)>, &str) {
        let mut flags = Vec::new();
        let mut rest = self.rest.as_str();
        while let Some(after) = rest.strip_prefix("--") {
            let (flag, remainder) = after.split_once(char::is_whitespace).unwrap_or((after, ""));
            flags.push(flag.split_once('=').unwrap_or((flag, "")));
            rest = remainder.trim_start();
        }
        (flags, rest)
    }
}

/// Parses the text of `file` into instructions.
///
/// # Errors
/// Returns `invalid`, with the line, for a keyword without arguments.
pub(crate) fn read(file: &str, text: &str) -> Result<Vec<Instruction>, EffectError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut instructions = Vec::new();
    let mut pending: Option<(String, SourceLocation)> = None;
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        // Comments and blank lines do not end a continued instruction.
        if trimmed.starts_with('#') || trimmed.is_empty() {
            if pending.is_none() {
                check_directive(trimmed, &SourceLocation { file: file.into(), line: index + 1 })?;
            }
            continue;
        }
        let (so_far, location) =
            pending.take().unwrap_or_else(|| (String::new(), SourceLocation { file: file.into(), line: index + 1 }));
        match trimmed.strip_suffix('\\') {
            Some(part) => pending = Some((format!("{so_far}{part}"), location)),
            None => instructions.push(instruction(&format!("{so_far}{trimmed}"), location)?),
        }
    }
    if let Some((text, location)) = pending {
        instructions.push(instruction(&text, location)?);
    }
    Ok(instructions)
}

fn check_directive(comment: &str, location: &SourceLocation) -> Result<(), EffectError> {
    let escape = comment.trim_start_matches('#').trim().strip_prefix("escape=");
    match escape {
        Some(other) if other.trim() != "\\" => {
            Err(location.unsupported(format!("`# escape={other}`: only `\\` is supported")))
        }
        _ => Ok(()),
    }
}

fn instruction(text: &str, location: SourceLocation) -> Result<Instruction, EffectError> {
    let text = text.trim();
    let (keyword, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let (keyword, rest) = (keyword.to_ascii_uppercase(), rest.trim().to_owned());
    if rest.is_empty() {
        return Err(location.invalid(format!("`{keyword}` has no arguments")));
    }
    Ok(Instruction { keyword, rest, location })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_lines_and_keeps_their_number() {
        let text = "# syntax=docker/dockerfile:1\nFROM scratch\n\nenv A=1 \\\n  # why\n\n    B=2\nCMD [\"x\", \"y\"]\n";
        let read = read("Dockerfile", text).unwrap();
        let seen: Vec<(usize, &str, &str)> =
            read.iter().map(|i| (i.location.line, i.keyword.as_str(), i.rest.as_str())).collect();
        assert_eq!(seen, [(2, "FROM", "scratch"), (4, "ENV", "A=1 B=2"), (8, "CMD", "[\"x\", \"y\"]")]);
        assert_eq!(read[2].json().unwrap(), ["x", "y"]);
    }

    #[test]
    fn errors_name_the_line() {
        let error = read("web/Dockerfile", "FROM scratch\n\nCMD\n").unwrap_err();
        assert_eq!(error.message, "web/Dockerfile:3: `CMD` has no arguments");
        assert!(read("Dockerfile", "# escape=`\nFROM scratch\n").is_err());
    }

    #[test]
    fn separates_flags() {
        let read = read("Dockerfile", "COPY --chmod=755 --link a b\n").unwrap();
        assert_eq!(read[0].flags(), (vec![("chmod", "755"), ("link", "")], "a b"));
    }
}
