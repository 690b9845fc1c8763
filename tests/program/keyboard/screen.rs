//! Shell sessions in a terminal, driven with tmux: find a stale container, read its logs, remove it, undo that, and save
//! the session. The expected screens are in `screens/`; `UPDATE_DOCS=1` writes them.

use std::process::Command;
use std::time::Duration;

use super::session::{engine, folder, piped};
use crate::current::assert_current;
use crate::support::deadline::until;
use crate::support::deployer::Deployer;

const TIMEOUT: Duration = Duration::from_secs(60);

/// A terminal of a private tmux server.
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

    fn wait_for(&self, text: &str) {
        let mut last = String::new();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until(text, TIMEOUT, || {
                last = self.screen();
                last.contains(text).then_some(())
            })
        }));
        assert!(result.is_ok(), "`{text}` never appeared on\n{last}");
    }

    /// Waits until the program in the terminal has ended.
    fn wait_for_end(&self) {
        let program = self.tmux(&["list-panes", "-F", "#{pane_pid}"]).trim().to_owned();
        until("the end of the session", TIMEOUT, || {
            let state = std::fs::read_to_string(format!("/proc/{program}/stat")).unwrap_or_default();
            (state.is_empty() || state.contains(") Z ")).then_some(())
        });
    }

    fn keys(&self, keys: &[&str]) {
        let mut args = vec!["send-keys"];
        args.extend(keys);
        self.tmux(&args);
    }

    /// Types a line, and waits for its output and the next prompt.
    fn line(&self, text: &str, output: &str) {
        self.keys(&["-l", text]);
        self.keys(&["Enter"]);
        self.wait_for(output);
        until("the next prompt", TIMEOUT, || {
            self.screen().trim_end().lines().last().is_some_and(|last| last.trim_end() == "local>").then_some(())
        });
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-L").arg(&self.socket).arg("kill-server").output();
    }
}

/// Creates an engine with a running service and a container that exited with an error.
fn engine_with_stale_container() -> Deployer {
    let deployer = engine();
    folder(&deployer, "stale", r#"CMD ["/bin/sh", "-c", "echo starting; echo no database at /data; exit 3"]"#);
    let inputs = "docker_build(#{context: \"app\", tag: \"shop:v2\"});\ndocker_build(#{context: \"stale\", tag: \"shop:v1\"});\ndocker_run(#{name: \"shop\", image: \"shop:v2\", service: \"shop\"});\ndocker_create(#{name: \"shop-old\", image: \"shop:v1\"});\ndocker_start(\"shop-old\");\ndocker_wait(\"shop-old\").exit_code\n";
    assert!(piped(&deployer, &[], inputs).ok().stdout.ends_with("\n3\n"));
    deployer
}

/// Masks the parts of a screen that differ between runs, without changing their width.
fn mask(screen: &str) -> String {
    let lines = screen.trim_end().lines().map(|line| line.split(' ').map(mask_word).collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n")
}

fn mask_word(word: &str) -> String {
    let fill =
        |from: &str, to: char| from.chars().map(|c| if c.is_ascii_alphanumeric() { to } else { c }).collect::<String>();
    let bare = word.trim_end_matches('…');
    // In a narrow column, only the start of the date is visible.
    let is_date =
        bare.starts_with("20") && bare.contains('-') && bare.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let is_time = bare.len() == 9 && bare.ends_with('Z') && bare.split(':').count() == 3;
    let is_duration = bare.strip_suffix('s').is_some_and(|number| number.parse::<f64>().is_ok());
    let is_id = bare.len() >= 12 && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
    match word.split_once("-removed-") {
        Some((name, rest)) => format!("{name}-removed-{}", fill(rest, 'x')),
        None if is_date || is_time => {
            fill(word.trim_end_matches('Z'), '0') + word.strip_prefix(word.trim_end_matches('Z')).unwrap_or_default()
        }
        None if is_duration => fill(bare.trim_end_matches('s'), '0') + "s",
        None if is_id => fill(word, 'x'),
        None => word.to_owned(),
    }
}

fn test_session(columns: u16) {
    let deployer = engine_with_stale_container();
    let terminal = Terminal::open(&deployer, columns, "repl --engine local");
    terminal.wait_for("local>");
    terminal.line(":containers", "shop-old");
    terminal.line(":logs shop-old", "no database at /data");
    terminal.line("docker_remove(\"shop-old\")", "docker_rename");
    terminal.line("docker_list(#{all: true}).map(|c| c.state)", "exited");
    terminal.line(":undo", "undone: docker_remove");
    // Stopping a live container needs confirmation. Any key but `y` means no.
    terminal.keys(&["-l", "docker_stop(\"shop\")"]);
    terminal.keys(&["Enter"]);
    terminal.wait_for("[y/N]");
    terminal.keys(&["n"]);
    terminal.wait_for("is not allowed");
    terminal.line(":save session.rhai", "found no errors");
    terminal.line(":plan docker_stop(\"shop\")", "would docker_stop shop");
    let screen = mask(&terminal.screen().replace(&deployer.home().display().to_string(), "/home/someone"));
    assert_current(&format!("tests/program/keyboard/screens/{columns}.txt"), &format!("{screen}\n"));
    for line in screen.lines() {
        assert!(line.chars().count() <= usize::from(columns), "{line}");
    }
    terminal.keys(&["-l", ":quit"]);
    terminal.keys(&["Enter"]);
    terminal.wait_for_end();
    deployer.call(&["check", "session.rhai"]).ok().says("no errors");
    let names = piped(&deployer, &[], "docker_list(#{all: true}).map(|c| c.name)").ok().stdout;
    assert!(names.contains("shop-old\n") && !names.contains("removed"), "{names}");
    piped(&deployer, &["--yes"], "docker_remove(\"shop\", #{force: true})").ok();
}

#[test]
fn a_session_in_sixty_columns() {
    test_session(60);
}

#[test]
fn a_session_in_a_hundred_and_twenty_columns() {
    test_session(120);
}

#[test]
fn tab_completes_ctrl_c_stops_the_effect_and_secrets_are_not_remembered() {
    let deployer = engine_with_stale_container();
    let terminal = Terminal::open(&deployer, 100, "repl --engine local");
    terminal.wait_for("local>");
    // Completes the name of an existing container inside the quotes.
    terminal.keys(&["-l", "docker_logs(\"shop-"]);
    terminal.keys(&["Tab"]);
    terminal.wait_for("docker_logs(\"shop-old");
    terminal.keys(&["-l", "\").lines.len()"]);
    terminal.keys(&["Enter"]);
    terminal.wait_for("\n2\n");
    // The hint is the signature of the call.
    terminal.keys(&["-l", "docker_logs("]);
    terminal.wait_for("docker_logs(container, #{tail})");
    terminal.keys(&["C-c"]);
    // An open bracket continues the input on the next line.
    terminal.keys(&["-l", "let total = ["]);
    terminal.keys(&["Enter"]);
    terminal.keys(&["-l", "1, 41].reduce(|a, b| if a == () { b } else { a + b });"]);
    terminal.keys(&["Enter"]);
    terminal.line("total", "\n42\n");
    // Ctrl-C stops the effect, and the session continues.
    terminal.keys(&["-l", "sleep(\"10m\")"]);
    terminal.keys(&["Enter"]);
    until("the sleep in the journal", TIMEOUT, || {
        deployer.call(&["show", "last", "--verbose"]).said().contains("sleep 10m").then_some(())
    });
    terminal.keys(&["C-c"]);
    terminal.wait_for("cancelled");
    terminal.line("total + 1", "\n43\n");
    terminal.line("let password = \"abc-not-for-disk\";", "local>");
    terminal.keys(&["C-d"]);
    terminal.wait_for_end();
    let history = std::fs::read_to_string(deployer.state().join("repl_history")).unwrap();
    assert!(history.contains("total + 1") && !history.contains("abc-not-for-disk"), "{history}");
    piped(&deployer, &["--yes"], "docker_remove(\"shop\", #{force: true})").ok();
}
