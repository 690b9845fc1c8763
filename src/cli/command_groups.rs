//! The headings of `deployer --help`. clap has no headings for subcommands, so the list is rendered here.

use clap::Command;

/// Each command under one heading, in the order of the help.
const GROUPS: &[(&str, &[&str])] = &[
    ("Deploy", &["deploy", "run", "plan", "verify", "rollback", "exec"]),
    ("Inspect", &["status", "logs", "runs", "show", "releases", "doctor"]),
    ("Repair", &["resume", "abort", "resolve", "approve", "unlock", "gc"]),
    ("Scripts", &["init", "new", "check", "test", "repl", "help", "reference"]),
    ("Set-up", &["proxy", "completions", "man", "definitions", "demo"]),
];

/// Returns the template of `deployer --help` for clap.
pub fn help_template(command: &Command) -> String {
    let names = GROUPS.iter().flat_map(|(_, names)| names.iter());
    let width = names.map(|name| name.len()).max().unwrap_or_default();
    let mut text = String::from("{before-help}{about-with-newline}\n{usage-heading} {usage}\n");
    for (heading, names) in GROUPS {
        text.push_str(&format!("\n{heading}:\n"));
        for name in *names {
            let about = command.find_subcommand(name).and_then(Command::get_about).map(ToString::to_string);
            text.push_str(&format!("  {name:width$}  {}\n", about.unwrap_or_default()));
        }
    }
    text.push_str("\nOptions:\n{options}\n\n`deployer help COMMAND` explains a command.{after-help}");
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli::definition;

    #[test]
    fn every_command_is_in_exactly_one_group() {
        let listed: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let command = definition();
        let visible: BTreeSet<&str> =
            command.get_subcommands().filter(|command| !command.is_hide_set()).map(Command::get_name).collect();
        assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), visible);
        assert_eq!(listed.len(), visible.len(), "a command is listed twice");
    }

    #[test]
    fn the_help_has_headings_and_fits_eighty_columns() {
        let help = definition().render_help().to_string();
        for (heading, _) in GROUPS {
            assert!(help.contains(&format!("\n{heading}:\n")), "{help}");
        }
        let long = help.lines().find(|line| line.chars().count() > 85);
        assert_eq!(long, None, "{help}");
    }

    #[test]
    fn every_argument_is_documented() {
        fn undocumented(command: &Command, missing: &mut Vec<String>) {
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                if argument.get_help().is_none_or(|help| help.to_string().is_empty()) {
                    missing.push(format!("{} {}", command.get_name(), argument.get_id()));
                }
            }
            for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
                assert!(command.get_about().is_some(), "{}", command.get_name());
                undocumented(command, missing);
            }
        }
        let mut missing = Vec::new();
        undocumented(&definition(), &mut missing);
        assert_eq!(missing, Vec::<String>::new());
    }
}
