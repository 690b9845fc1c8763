//! Faults of the environment: unusable state folders, full disks, locked or damaged journals, and unusual inputs.

use std::fs;
use std::path::Path;
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::support::deployer::Deployer;

/// A temporary file system. It is unmounted on drop.
struct Mount(tempfile::TempDir);

impl Mount {
    #[track_caller]
    fn tmpfs(options: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        mount(&["-t", "tmpfs", "-o", options, "tmpfs", folder.path().to_str().unwrap()]);
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily, because a file may still be open.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[track_caller]
fn mount(args: &[&str]) {
    let output = Command::new("mount").args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_state_folder_that_cannot_be_used() {
    let deployer = Deployer::local();
    let file = deployer.file("state-file", "");
    let script = deployer.file("one.rhai", "volume_create(\"v\");");
    for command in [&["run", &script, "--engine", "local"][..], &["runs"], &["show", "last"], &["abort"]] {
        let args: Vec<_> = command.iter().copied().chain(["--state", &file]).collect();
        deployer.call(&args).code(2).says("it is a file").says("`--state DIR`");
    }
    deployer.run(&script, &["--state", "/proc/nothing"]).code(2).says("the state folder `/proc/nothing`");
}

#[test]
fn a_relative_state_folder_is_the_same_from_everywhere() {
    let deployer = Deployer::local();
    let script = deployer.file("one.rhai", "lock(\"web\"); volume_create(\"v\"); sleep(\"60s\");");
    let mut run = deployer.watch_run(&script, &["--state", "mine"]);
    run.until_intended("sleep");
    let id = run.id();
    run.kill();
    fs::create_dir(deployer.home().join("below")).unwrap();
    let mut command = deployer.command(&["abort", &id, "--state", "../mine"]);
    let aborted = command.current_dir(deployer.home().join("below")).output().unwrap();
    assert_eq!(aborted.status.code(), Some(0), "{}", String::from_utf8_lossy(&aborted.stderr));
    let left = fs::read_dir(deployer.home().join("mine/local/volumes")).unwrap().count();
    assert_eq!(left, 0);
}

#[test]
fn a_home_that_is_not_set() {
    let deployer = Deployer::local();
    let mut command = deployer.command(&["run", &deployer.file("one.rhai", ""), "--engine", "local"]);
    let output = command.env_remove("HOME").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn run_history_can_be_read_from_a_read_only_disk() {
    let mount_point = Mount::tmpfs("size=8m");
    let deployer = Deployer::local().state_in(&mount_point.path().join("state"));
    let script = deployer.file("one.rhai", "volume_create(\"v\");");
    deployer.run(&script, &[]).ok();
    mount(&["-o", "remount,ro", mount_point.path().to_str().unwrap()]);
    deployer.run(&script, &[]).code(2).says("cannot be written").says("`--state DIR`");
    deployer.call(&["runs"]).ok().says("succeeded");
    deployer.call(&["show", "last"]).ok().says("volume v");
}

#[test]
fn a_disk_that_fills_up_stops_the_run_and_abort_rolls_it_back_later() {
    let mount_point = Mount::tmpfs("size=700k");
    let deployer = Deployer::local().state_in(&mount_point.path().join("state"));
    let filler = mount_point.path().join("filler");
    let script = deployer.file(
        "fill.rhai",
        &format!(
            "lock(\"web\"); volume_create(\"v\");\nexec([\"sh\", \"-c\", \"cat /dev/zero > {} || true\"]);\nvolume_create(\"w\");",
            filler.display()
        ),
    );
    let stuck = deployer.run(&script, &[]).code(3).says("disk is full").says("`volume_create v` was not undone");
    let id = stuck.stderr.lines().rev().find_map(|line| line.trim().strip_prefix("run: ")).unwrap().to_owned();
    deployer.call(&["runs"]).ok().says("killed");
    fs::remove_file(&filler).unwrap();
    deployer.call(&["abort", &id]).ok();
    assert_eq!(fs::read_dir(deployer.state().join("local/volumes")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(deployer.state().join("local/locks")).unwrap().count(), 0);

    fs::remove_dir_all(deployer.state()).unwrap();
    fs::write(&filler, vec![0; 690 << 10]).unwrap();
    deployer.run(&script, &[]).code(2).says("free disk space");
}

#[test]
fn a_journal_that_another_process_has_locked() {
    let deployer = Deployer::local();
    let script = deployer.file("one.rhai", "volume_create(\"v\");");
    deployer.run(&script, &[]).ok();
    let holder = rusqlite::Connection::open(deployer.state().join("journal.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    deployer.call(&["runs"]).ok().says("succeeded");
    deployer.run(&script, &[]).code(2).says("locked by another process").says("fuser");
    holder.execute_batch("ROLLBACK").unwrap();
    deployer.run(&script, &[]).ok();
}

#[test]
fn a_long_history() {
    let deployer = Deployer::local();
    let script = deployer.file("one.rhai", "print(\"x\");");
    for _ in 0..30 {
        deployer.run(&script, &[]).ok();
    }
    assert_eq!(deployer.call(&["runs"]).ok().stdout.lines().count(), 21);
    assert_eq!(deployer.call(&["runs", "--limit", "1000"]).ok().stdout.lines().count(), 31);
    deployer.call(&["show", ""]).code(2).says("several runs begin with");
}

#[test]
fn inputs_of_any_size_name_and_encoding() {
    let deployer = Deployer::local();
    fs::create_dir(deployer.home().join("my scripts")).unwrap();
    let odd = deployer.file("my scripts/größe λ.rhai", "print(\"odd\");");
    assert_eq!(deployer.run(&odd, &[]).ok().stdout, "odd\n");

    let long = format!("{}print(\"long\");\n", "// a comment that is long\n".repeat(80_000));
    assert_eq!(deployer.run(&deployer.file("long.rhai", &long), &[]).ok().stdout, "long\n");

    let script = deployer.file(
        "map.rhai",
        "let p = params(#{ m: optional(\"map\", #{}, \"m\"), n: optional(\"int\", 1, \"n\") }); print(p.m.len() + p.n);",
    );
    let large: String = (0..30_000).map(|n| format!("key{n} = \"{}\"\n", "x".repeat(50))).collect();
    let config = deployer.file("large.toml", &format!("[m]\n{large}"));
    assert_eq!(deployer.run(&script, &["--config", &config]).ok().stdout, "30001\n");

    let byte_order_mark = deployer.file("mark.toml", "\u{feff}n = 7\r\n");
    assert_eq!(deployer.run(&script, &["--config", &byte_order_mark]).ok().stdout, "7\n");
    fs::write(deployer.home().join("latin.toml"), b"n = 1 # gr\xf6\xdfe\n").unwrap();
    deployer.run(&script, &["--config", "latin.toml"]).code(2).says("it is not UTF-8: byte 11");
    fs::write(deployer.home().join("latin.rhai"), b"print(\"\xe4\");").unwrap();
    deployer.run("latin.rhai", &[]).code(2).says("it is not UTF-8: byte 8");
    deployer.run(&script, &["--config", "nothing.toml"]).code(2).says("there is no such file");
    deployer.run(&script, &["--config", "."]).code(2).says("it is a folder");
}

#[test]
fn the_local_engine_ignores_broken_docker_settings() {
    let deployer = Deployer::local();
    fs::create_dir(deployer.home().join("config")).unwrap();
    deployer.file("config/config.json", "{ this is no JSON");
    let deployer = deployer.env("DOCKER_CONFIG", "config").env("DOCKER_HOST", "");
    let script = deployer.file("one.rhai", "");
    deployer.run(&script, &[]).ok();
    deployer.call(&["run", &script]).code(2).says("config.json");
    let deployer = deployer.env("DOCKER_HOST", "nonsense://");
    deployer.run(&script, &[]).ok();
}

#[test]
fn the_error_names_a_broken_docker_context() {
    let deployer = Deployer::docker().env("DOCKER_CONFIG", "config").env("DOCKER_HOST", "");
    let script = deployer.file("one.rhai", "volume_create(\"v\");");
    let digest: String = Sha256::digest("far").iter().map(|byte| format!("{byte:02x}")).collect();
    let folder = format!("config/contexts/meta/{digest}");
    fs::create_dir_all(deployer.home().join(&folder)).unwrap();
    deployer.file("config/config.json", "{\"currentContext\": \"far\"}");
    deployer.call(&["run", &script]).code(2).says("cannot use the docker context `far`").says("docker context ls");
    for broken in ["", "{", "[]", "{\"Endpoints\": {}}", "{\"Endpoints\": {\"docker\": {\"Host\": 5}}}"] {
        deployer.file(&format!("{folder}/meta.json"), broken);
        deployer.call(&["run", &script]).code(2).says("cannot use the docker context `far`");
    }
    for (host, message) in [
        ("nonsense://x", "is not a valid docker engine address"),
        ("unix:///nowhere/docker.sock", "docker context `far`"),
    ] {
        let meta = format!("{{\"Name\": \"far\", \"Endpoints\": {{\"docker\": {{\"Host\": \"{host}\"}}}}}}");
        deployer.file(&format!("{folder}/meta.json"), &meta);
        deployer.call(&["run", &script]).code(2).says(message);
    }
    for broken in ["", "{ this is no JSON", "5"] {
        deployer.file("config/config.json", broken);
        let refused = deployer.call(&["run", &script]).code(2);
        refused.says("cannot read docker's configuration `config/config.json`").says("`--engine local`");
    }
    deployer.call(&["run", &script, "--engine", "local"]).ok();
}

/// Asserts that every command refuses the journal without changing it, and that moving it away helps.
#[track_caller]
fn refused_and_kept(deployer: &Deployer, script: &str, what: &str) {
    let journal = deployer.state().join("journal.db");
    let before = fs::read(&journal).unwrap();
    for command in [&["run", script, "--engine", "local"][..], &["runs"], &["show", "last"], &["abort"]] {
        let refused = deployer.call(command);
        assert_eq!(refused.code, 2, "{what}: {command:?}: {}", refused.said());
        assert!(refused.stderr.contains("the journal `"), "{what}: {command:?}: {}", refused.said());
        assert!(refused.stderr.contains("start a new one"), "{what}: {command:?}: {}", refused.said());
    }
    assert!(fs::read(&journal).unwrap() == before, "{what}: the journal is unchanged");
    fs::rename(&journal, deployer.home().join("moved.db")).unwrap();
    deployer.run(script, &[]).ok();
    deployer.call(&["runs"]).ok().says("succeeded");
}

#[test]
fn a_damaged_journal_is_refused_and_left_unchanged() {
    let deployer = Deployer::local();
    let script = deployer.file("one.rhai", &format!("for n in 0..50 {{ log(\"{}\"); }}", "x".repeat(500)));
    deployer.run(&script, &[]).ok();
    deployer.run(&script, &[]).ok();
    let journal = deployer.state().join("journal.db");
    let intact = fs::read(&journal).unwrap();
    assert!(intact.len() > 8 * 4096, "it has {} bytes", intact.len());
    let mut without_header = intact.clone();
    without_header[..100].fill(0xAB);
    let mut with_gap = intact.clone();
    with_gap[4096..intact.len() - 4096].fill(0xAB);
    let garbage = b"this is a note to myself and no database ".repeat(500);
    for (what, bytes) in [
        ("garbage", garbage.as_slice()),
        ("without its header", &without_header),
        ("with overwritten pages", &with_gap),
        ("truncated in the middle", &intact[..intact.len() / 2]),
        ("truncated after a page", &intact[..4096]),
        ("truncated in its header", &intact[..50]),
    ] {
        fs::remove_dir_all(deployer.state()).unwrap();
        fs::create_dir(deployer.state()).unwrap();
        fs::write(&journal, bytes).unwrap();
        refused_and_kept(&deployer, &script, what);
    }
}

#[test]
fn a_journal_whose_latest_entries_are_lost_is_refused() {
    let deployer = Deployer::local();
    let script = deployer.file("one.rhai", "volume_create(\"v\");");
    deployer.run(&script, &[]).ok();
    fs::write(deployer.state().join("journal.db-shm"), b"garbage ".repeat(2_000)).unwrap();
    deployer.call(&["show", "last"]).ok().says("volume v");
    fs::write(deployer.state().join("journal.db-wal"), b"garbage ".repeat(2_000)).unwrap();
    deployer.run(&script, &[]).code(2).says("which has its latest entries, is not a log");

    // A new journal is created under another name and renamed, so an empty file was truncated later.
    fs::remove_dir_all(deployer.state()).unwrap();
    fs::create_dir(deployer.state()).unwrap();
    fs::write(deployer.state().join("journal.db"), "").unwrap();
    deployer.run(&script, &[]).code(2);
}
