//! What begins with a colon: what a session is asked about itself.

use crate::base::suggest::did_you_mean;

/// One command, for help and completion.
pub struct CommandLine {
    pub name: &'static str,
    /// What follows it; empty for nothing.
    pub takes: &'static str,
    pub does: &'static str,
}

/// All of them.
pub const COMMANDS: &[CommandLine] = &[
    CommandLine { name: ":help", takes: "[NAME]", does: "these lines, or what there is to know of a primitive" },
    CommandLine { name: ":services", takes: "", does: "how all services stand" },
    CommandLine { name: ":containers", takes: "", does: "all containers, stopped ones too" },
    CommandLine { name: ":logs", takes: "NAME [LINES]", does: "the last lines that a container wrote" },
    CommandLine { name: ":plan", takes: "EXPR", does: "what it would do, tried on a simulated copy of the host" },
    CommandLine { name: ":undo", takes: "[N]", does: "takes back what the last input, or the last N, changed" },
    CommandLine { name: ":pile", takes: "", does: "what can be taken back" },
    CommandLine { name: ":vars", takes: "", does: "variables and functions of this session" },
    CommandLine { name: ":save", takes: "FILE", does: "writes the session as a script" },
    CommandLine { name: ":quit", takes: "", does: "ends the session, as Ctrl-D does; what it did stays" },
];

/// A command that was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Command<'a> {
    Help(Option<&'a str>),
    Services,
    Containers,
    Logs { container: &'a str, lines: i64 },
    Plan(&'a str),
    Undo(usize),
    Pile,
    Vars,
    Save(&'a str),
    Quit,
}

/// Lines of a log that are shown when nobody says how many.
const LOG_LINES: i64 = 20;

impl<'a> Command<'a> {
    /// Reads a line that begins with a colon.
    ///
    /// # Errors
    /// One line: what is wrong, or what was meant.
    pub fn read(line: &'a str) -> Result<Self, String> {
        let line = line.trim();
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let wanted = |what: &str| if rest.is_empty() { Err(format!("`{name}` needs {what}")) } else { Ok(rest) };
        let alone = |command| if rest.is_empty() { Ok(command) } else { Err(format!("`{name}` takes nothing")) };
        match name {
            ":help" | ":h" | ":?" => Ok(Self::Help(Some(rest).filter(|rest| !rest.is_empty()))),
            ":services" => alone(Self::Services),
            ":containers" => alone(Self::Containers),
            ":logs" => {
                let (container, lines) = wanted("a container")?.split_once(' ').unwrap_or((rest, ""));
                let lines = if lines.trim().is_empty() { Ok(LOG_LINES) } else { lines.trim().parse() };
                let lines = lines.map_err(|_| format!("`{name} {rest}`: how many lines is a number"))?;
                Ok(Self::Logs { container: container.trim_matches('"'), lines })
            }
            ":plan" => Ok(Self::Plan(wanted("an expression")?)),
            ":undo" | ":u" if rest.is_empty() => Ok(Self::Undo(1)),
            ":undo" | ":u" => rest.parse().map(Self::Undo).map_err(|_| format!("`{name} {rest}`: how many inputs?")),
            ":pile" => alone(Self::Pile),
            ":vars" => alone(Self::Vars),
            ":save" => Ok(Self::Save(wanted("a file")?)),
            ":quit" | ":q" | ":exit" => alone(Self::Quit),
            _ => {
                let names = COMMANDS.iter().map(|command| command.name);
                let hint = did_you_mean(name, names).unwrap_or_else(|| "`:help` lists them".into());
                Err(format!("there is no `{name}`; {hint}"))
            }
        }
    }
}

/// The lines of `:help`.
pub fn help() -> String {
    let mut text = String::from("An expression is evaluated; a change is journalled and can be taken back.\n");
    for command in COMMANDS {
        let call = format!("{} {}", command.name, command.takes);
        text += &format!("  {:20} {}\n", call.trim_end(), command.does);
    }
    text + "Tab completes, Ctrl-C stops what is under way, Ctrl-D ends. `:help docker_run` explains one.\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_follows_the_colon() {
        assert_eq!(Command::read(":logs web 5"), Ok(Command::Logs { container: "web", lines: 5 }));
        assert_eq!(Command::read(":plan docker_stop(\"web\")"), Ok(Command::Plan("docker_stop(\"web\")")));
        assert_eq!(Command::read(":undo"), Ok(Command::Undo(1)));
        assert_eq!(Command::read(":help docker_run"), Ok(Command::Help(Some("docker_run"))));
        assert_eq!(Command::read(":save"), Err("`:save` needs a file".into()));
        assert_eq!(Command::read(":contaners"), Err("there is no `:contaners`; did you mean `:containers`?".into()));
        assert!(Command::read(":quit now").is_err());
    }
}
