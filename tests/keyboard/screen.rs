//! A session at a terminal, driven in tmux: somebody finds a stale container, looks at its logs, removes it, takes that
//! back, and saves the session. The screens are kept in `screens/`; `UPDATE_DOCS=1` writes them anew.

use std::process::Command;
use std::time::Duration;

use crate::current::hold;
use crate::session::{engine, folder, piped};
use crate::support::deadline::until;
use crate::support::deployer::Deployer;

const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal of so many columns, of a tmux server of its own.
struct Terminal {
    socket: String,
}

impl Terminal {
    fn open(deployer: &Deployer, columns: u16, args: &str) -> Self {
        let socket = format!("deployer-{}-{columns}", std::process::id());
        let terminal = Self { socket };
        let line = format!(
            "env -i PATH=\"$PATH\" TERM=screen HOME={home} DEPLOYER_STATE={state} NO_COLOR=1 {program} {args}",
            home = deployer.home().display(),
            state = deployer.state().display(),
            program = env!("CARGO_BIN_EXE_deployer"),
        );
        let (columns, folder) = (columns.to_string(), deployer.home().display().to_string());
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &columns, "-y", "45", "-c", &folder, &line]);
        terminal.tmux(&["set-option", "-g", "remain-on-exit", "on"]);
        terminal
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux").arg("-L").arg(&self.socket).args(args).output().unwrap();
        assert!(output.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    fn shows(&self, wanted: &str) {
        let mut last = String::new();
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until(wanted, PATIENCE, || {
                last = self.screen();
                last.contains(wanted).then_some(())
            })
        }));
        assert!(seen.is_ok(), "never `{wanted}` on\n{last}");
    }

    /// Waits until the program of the terminal has ended.
    fn ended(&self) {
        let program = self.tmux(&["list-panes", "-F", "#{pane_pid}"]).trim().to_owned();
        until("the end of the session", PATIENCE, || {
            let state = std::fs::read_to_string(format!("/proc/{program}/stat")).unwrap_or_default();
            (state.is_empty() || state.contains(") Z ")).then_some(())
        });
    }

    fn keys(&self, keys: &[&str]) {
        let mut args = vec!["send-keys"];
        args.extend(keys);
        self.tmux(&args);
    }

    /// Types a line and waits for what it brings, and for the next prompt.
    fn line(&self, text: &str, brings: &str) {
        self.keys(&["-l", text]);
        self.keys(&["Enter"]);
        self.shows(brings);
        until("the next prompt", PATIENCE, || {
            self.screen().trim_end().lines().last().is_some_and(|last| last.trim_end() == "local>").then_some(())
        });
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-L").arg(&self.socket).arg("kill-server").output();
    }
}

/// An engine with a service that runs and a container that ended with an error.
fn host() -> Deployer {
    let deployer = engine();
    folder(&deployer, "stale", r#"CMD ["/bin/sh", "-c", "echo starting; echo no database at /data; exit 3"]"#);
    let made = "docker_build(#{context: \"app\", tag: \"shop:v2\"});\ndocker_build(#{context: \"stale\", tag: \"shop:v1\"});\ndocker_run(#{name: \"shop\", image: \"shop:v2\", service: \"shop\"});\ndocker_create(#{name: \"shop-old\", image: \"shop:v1\"});\ndocker_start(\"shop-old\");\ndocker_wait(\"shop-old\").exit_code\n";
    assert!(piped(&deployer, &[], made).ok().stdout.ends_with("\n3\n"));
    deployer
}

/// The screen with what differs from run to run hidden, each in its own width.
fn masked(screen: &str) -> String {
    let lines = screen.trim_end().lines().map(|line| line.split(' ').map(hidden).collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n")
}

fn hidden(word: &str) -> String {
    let all =
        |from: &str, to: char| from.chars().map(|c| if c.is_ascii_alphanumeric() { to } else { c }).collect::<String>();
    let bare = word.trim_end_matches('…');
    // Where the column is narrow, the beginning of one.
    let is_date =
        bare.starts_with("20") && bare.contains('-') && bare.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let is_time = bare.len() == 9 && bare.ends_with('Z') && bare.split(':').count() == 3;
    let is_duration = bare.strip_suffix('s').is_some_and(|number| number.parse::<f64>().is_ok());
    let is_id = bare.len() >= 12 && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
    match word.split_once("-removed-") {
        Some((name, rest)) => format!("{name}-removed-{}", all(rest, 'x')),
        None if is_date || is_time => {
            all(word.trim_end_matches('Z'), '0') + word.strip_prefix(word.trim_end_matches('Z')).unwrap_or_default()
        }
        None if is_duration => all(bare.trim_end_matches('s'), '0') + "s",
        None if is_id => all(word, 'x'),
        None => word.to_owned(),
    }
}

fn session(columns: u16) {
    let deployer = host();
    let terminal = Terminal::open(&deployer, columns, "repl --engine local");
    terminal.shows("local>");
    terminal.line(":containers", "shop-old");
    terminal.line(":logs shop-old", "no database at /data");
    terminal.line("docker_remove(\"shop-old\")", "docker_rename");
    terminal.line("docker_list(#{all: true}).map(|c| c.state)", "exited");
    terminal.line(":undo", "taken back: docker_remove");
    // What is live is asked for; any key but y says no.
    terminal.keys(&["-l", "docker_stop(\"shop\")"]);
    terminal.keys(&["Enter"]);
    terminal.shows("[y/N]");
    terminal.keys(&["n"]);
    terminal.shows("is not allowed");
    terminal.line(":save session.rhai", "accepts it");
    terminal.line(":plan docker_stop(\"shop\")", "would docker_stop shop");
    let screen = masked(&terminal.screen().replace(&deployer.home().display().to_string(), "/home/somebody"));
    hold(&format!("tests/keyboard/screens/{columns}.txt"), &format!("{screen}\n"));
    for line in screen.lines() {
        assert!(line.chars().count() <= usize::from(columns), "{line}");
    }
    terminal.keys(&["-l", ":quit"]);
    terminal.keys(&["Enter"]);
    terminal.ended();
    deployer.call(&["check", "session.rhai"]).ok().says("sound");
    let there = piped(&deployer, &[], "docker_list(#{all: true}).map(|c| c.name)").ok().stdout;
    assert!(there.contains("shop-old\n") && !there.contains("removed"), "{there}");
    piped(&deployer, &["--yes"], "docker_remove(\"shop\", #{force: true})").ok();
}

#[test]
fn a_session_in_sixty_columns() {
    session(60);
}

#[test]
fn a_session_in_a_hundred_and_twenty_columns() {
    session(120);
}

#[test]
fn tab_completes_ctrl_c_stops_the_effect_and_secrets_are_not_remembered() {
    let deployer = host();
    let terminal = Terminal::open(&deployer, 100, "repl --engine local");
    terminal.shows("local>");
    // A name of a container that is there, inside the quotes.
    terminal.keys(&["-l", "docker_logs(\"shop-"]);
    terminal.keys(&["Tab"]);
    terminal.shows("docker_logs(\"shop-old");
    terminal.keys(&["-l", "\").lines.len()"]);
    terminal.keys(&["Enter"]);
    terminal.shows("\n2\n");
    // The hint is the signature of the call.
    terminal.keys(&["-l", "docker_logs("]);
    terminal.shows("docker_logs(container, #{tail})");
    terminal.keys(&["C-c"]);
    // Several lines: an open bracket waits for its other half.
    terminal.keys(&["-l", "let total = ["]);
    terminal.keys(&["Enter"]);
    terminal.keys(&["-l", "1, 41].reduce(|a, b| if a == () { b } else { a + b });"]);
    terminal.keys(&["Enter"]);
    terminal.line("total", "\n42\n");
    // The effect is stopped, the session goes on.
    terminal.keys(&["-l", "sleep(\"10m\")"]);
    terminal.keys(&["Enter"]);
    until("the sleep in the journal", PATIENCE, || {
        deployer.call(&["show", "last", "--verbose"]).said().contains("sleep 10m").then_some(())
    });
    terminal.keys(&["C-c"]);
    terminal.shows("cancelled");
    terminal.line("total + 1", "\n43\n");
    terminal.line("let password = \"abc-not-for-disk\";", "local>");
    terminal.keys(&["C-d"]);
    terminal.ended();
    let history = std::fs::read_to_string(deployer.state().join("repl_history")).unwrap();
    assert!(history.contains("total + 1") && !history.contains("abc-not-for-disk"), "{history}");
    piped(&deployer, &["--yes"], "docker_remove(\"shop\", #{force: true})").ok();
}
