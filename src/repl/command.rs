//! Session commands: inputs that start with a colon.

use crate::base::suggest::did_you_mean;

/// The documentation of a command, for help and completion.
pub struct CommandHelp {
    /// Its name with the colon.
    pub name: &'static str,
    /// Its arguments; empty for none.
    pub arguments: &'static str,
    /// What it does.
    pub summary: &'static str,
}

/// All commands, in the order of `:help`.
pub const COMMANDS: &[CommandHelp] = &[
    CommandHelp { name: ":help", arguments: "[NAME]", summary: "show this help, or the help of a function" },
    CommandHelp { name: ":services", arguments: "", summary: "show the status of all services" },
    CommandHelp { name: ":containers", arguments: "", summary: "list all containers, including stopped ones" },
    CommandHelp { name: ":logs", arguments: "NAME [LINES]", summary: "show the last log lines of a container" },
    CommandHelp { name: ":plan", arguments: "EXPR", summary: "show what an expression would do, on a simulated host" },
    CommandHelp { name: ":undo", arguments: "[N]", summary: "undo the changes of the last input, or of the last N" },
    CommandHelp { name: ":changes", arguments: "", summary: "list the changes that can be undone" },
    CommandHelp { name: ":vars", arguments: "", summary: "list the variables and functions of this session" },
    CommandHelp { name: ":save", arguments: "FILE", summary: "save the session as a script" },
    CommandHelp { name: ":quit", arguments: "", summary: "end the session and keep its changes, as Ctrl-D does" },
];

/// A parsed command.
#[derive(Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Show help, of one function if a name is given.
    Help(Option<&'a str>),
    /// Show the status of all services.
    Services,
    /// List all containers.
    Containers,
    /// Show the last log lines of a container.
    Logs {
        /// The name of the container.
        container: &'a str,
        /// The number of lines.
        lines: i64,
    },
    /// Evaluate an expression on a simulated host.
    Plan(&'a str),
    /// Undo the changes of the last inputs.
    Undo(usize),
    /// List the changes that can be undone.
    Changes,
    /// List variables and functions.
    Vars,
    /// Save the session as a script in this file.
    Save(&'a str),
    /// End the session.
    Quit,
}

/// Default number of log lines.
const DEFAULT_LOG_LINES: i64 = 20;

impl<'a> Command<'a> {
    /// Parses a line that starts with a colon.
    ///
    /// # Errors
    /// Returns a one-line message, with a suggestion for an unknown command.
    pub fn parse(line: &'a str) -> Result<Self, String> {
        let line = line.trim();
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let argument = |what: &str| if rest.is_empty() { Err(format!("`{name}` needs {what}")) } else { Ok(rest) };
        let no_arguments =
            |command| if rest.is_empty() { Ok(command) } else { Err(format!("`{name}` takes no arguments")) };
        match name {
            ":help" | ":h" | ":?" => Ok(Self::Help(Some(rest).filter(|rest| !rest.is_empty()))),
            ":services" => no_arguments(Self::Services),
            ":containers" => no_arguments(Self::Containers),
            ":logs" => {
                let (container, lines) = argument("a container")?.split_once(' ').unwrap_or((rest, ""));
                let lines = if lines.trim().is_empty() { Ok(DEFAULT_LOG_LINES) } else { lines.trim().parse() };
                let lines = lines.map_err(|_| format!("`{name} {rest}`: the number of lines must be a number"))?;
                Ok(Self::Logs { container: container.trim_matches('"'), lines })
            }
            ":plan" => Ok(Self::Plan(argument("an expression")?)),
            ":undo" | ":u" if rest.is_empty() => Ok(Self::Undo(1)),
            ":undo" | ":u" => rest
                .parse()
                .map(Self::Undo)
                .map_err(|_| format!("`{name} {rest}`: the number of inputs must be a number")),
            // `:pile` is the old name.
            ":changes" | ":pile" => no_arguments(Self::Changes),
            ":vars" => no_arguments(Self::Vars),
            ":save" => Ok(Self::Save(argument("a file")?)),
            ":quit" | ":q" | ":exit" => no_arguments(Self::Quit),
            _ => {
                let names = COMMANDS.iter().map(|command| command.name);
                let hint = did_you_mean(name, names).unwrap_or_else(|| "`:help` lists the commands".into());
                Err(format!("unknown command `{name}`; {hint}"))
            }
        }
    }
}

/// Returns the text of `:help`.
pub fn help() -> String {
    let mut text = String::from("Type an expression to evaluate it. Every change is journalled and can be undone.\n");
    for command in COMMANDS {
        let call = format!("{} {}", command.name, command.arguments);
        text += &format!("  {:20} {}\n", call.trim_end(), command.summary);
    }
    text + "Tab completes, Ctrl-C stops the current input, Ctrl-D ends the session. `:help docker_run` documents a function.\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_commands() {
        assert_eq!(Command::parse(":logs web 5"), Ok(Command::Logs { container: "web", lines: 5 }));
        assert_eq!(Command::parse(":plan docker_stop(\"web\")"), Ok(Command::Plan("docker_stop(\"web\")")));
        assert_eq!(Command::parse(":undo"), Ok(Command::Undo(1)));
        assert_eq!(Command::parse(":help docker_run"), Ok(Command::Help(Some("docker_run"))));
        assert_eq!(Command::parse(":save"), Err("`:save` needs a file".into()));
        assert_eq!(
            Command::parse(":contaners"),
            Err("unknown command `:contaners`; did you mean `:containers`?".into())
        );
        assert!(Command::parse(":quit now").is_err());
    }
}
