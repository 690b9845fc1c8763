use std::path::{Path, PathBuf};
use std::process::Command;

use deployer::effect::{Applied, ErrorKind};
use serde_json::json;

use super::Fixture;

/// A temporary repository, without the user's settings.
struct Repo {
    path: PathBuf,
}

impl Repo {
    fn init(path: PathBuf) -> Self {
        std::fs::create_dir_all(&path).unwrap();
        let repo = Self { path };
        repo.git(&["init", "-q", "-b", "main"]);
        repo
    }

    fn git(&self, args: &[&str]) -> String {
        git(&self.path, args)
    }

    fn write(&self, path: &str, text: &str) {
        let file = self.path.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    /// Commits everything; returns the full hash.
    fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn exists(&self, path: &str) -> bool {
        self.path.join(path).exists()
    }
}

fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "protocol.file.allow=always"])
        .args(args)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A bare remote and two repositories of it: the author's, and the clone on the server.
fn remote_and_clones(folder: &Path) -> (Repo, Repo) {
    let author = Repo::init(folder.join("author"));
    author.write("a.txt", "one\n");
    author.commit("one");
    git(folder, &["clone", "-q", "--bare", "author", "remote.git"]);
    author.git(&["remote", "add", "origin", folder.join("remote.git").to_str().unwrap()]);
    git(folder, &["clone", "-q", "remote.git", "server"]);
    (author, Repo { path: folder.join("server") })
}

#[tokio::test]
async fn changes_include_renames_deletions_and_both_paths() {
    let folder = tempfile::tempdir().unwrap();
    let repo = Repo::init(folder.path().into());
    let long: String = (0..50).map(|line| format!("line {line}\n")).collect();
    repo.write("old/name.py", &long);
    repo.write("gone.txt", "x\n");
    repo.write("kept.txt", "1\n");
    repo.write("link", "was a file\n");
    let from = repo.commit("one");
    repo.git(&["mv", "old/name.py", "new_name.py"]);
    repo.write("new_name.py", &format!("{long}one more\n"));
    std::fs::remove_file(repo.path.join("gone.txt")).unwrap();
    std::fs::remove_file(repo.path.join("link")).unwrap();
    std::os::unix::fs::symlink("kept.txt", repo.path.join("link")).unwrap();
    repo.write("kept.txt", "2\n");
    repo.write("ünï code.txt", "new\n");
    let to = repo.commit("two\n\nbody");
    let fixture = Fixture::new();
    std::fs::create_dir_all(repo.path.join("sub")).unwrap();
    let changes = fixture.ask("git_changed", json!({"repo": repo.path.join("sub"), "from": "HEAD~1"})).await.unwrap();
    assert_eq!((&changes["from"], &changes["to"]), (&json!(from), &json!(to)));
    let mut files = changes["files"].as_array().unwrap().clone();
    files.sort_by_key(|file| file["path"].to_string());
    let change = |path: &str, old: Option<&str>, change: &str| json!({"path": path, "old_path": old, "change": change});
    assert_eq!(
        files,
        [
            change("gone.txt", None, "deleted"),
            change("kept.txt", None, "modified"),
            change("link", None, "retyped"),
            change("new_name.py", Some("old/name.py"), "renamed"),
            change("ünï code.txt", None, "added"),
        ]
    );
    let paths = json!(["gone.txt", "kept.txt", "link", "new_name.py", "old/name.py", "ünï code.txt"]);
    assert_eq!(changes["paths"], paths);
    let none = fixture.ask("git_changed", json!({"repo": repo.path, "from": to, "to": "main"})).await.unwrap();
    assert_eq!(none["paths"], json!([]));
}

#[tokio::test]
async fn missing_repositories_and_commits_are_not_found() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::new();
    let plain = fixture.refused("git_head", json!({"repo": folder.path()})).await;
    assert_eq!(plain.kind, ErrorKind::NotFound);
    assert!(plain.message.contains("is not in a git repository"), "{plain}");
    let nowhere = fixture.refused("git_head", json!({"repo": "/no/such/folder"})).await;
    assert_eq!(nowhere.kind, ErrorKind::NotFound);
    let repo = Repo::init(folder.path().into());
    let empty = fixture.refused("git_head", json!({"repo": repo.path})).await;
    assert!(empty.message.ends_with("has no commit yet"), "{empty}");
    let empty_head = fixture.ask("git_head", json!({"repo": repo.path, "missing_ok": true})).await.unwrap();
    assert_eq!(empty_head, serde_json::Value::Null);
    repo.write("a", "a");
    repo.commit("one");
    for unknown in ["v9", "HEAD~7", "0123456789012345678901234567890123456789"] {
        let error = fixture.refused("git_changed", json!({"repo": repo.path, "from": unknown})).await;
        assert_eq!(error.kind, ErrorKind::NotFound, "{unknown}: {error}");
        assert!(error.hint.unwrap().contains("fetch --tags"));
    }
    for wrong in ["HEAD..main", "HEAD:a"] {
        let error = fixture.refused("git_changed", json!({"repo": repo.path, "from": wrong})).await;
        assert_eq!(error.kind, ErrorKind::Invalid, "{wrong}: {error}");
    }
}

#[tokio::test]
async fn a_shallow_clone_gets_a_hint_to_unshallow() {
    let folder = tempfile::tempdir().unwrap();
    let (author, _) = remote_and_clones(folder.path());
    let first = author.git(&["rev-parse", "HEAD"]);
    author.write("a.txt", "two\n");
    author.commit("two");
    author.git(&["push", "-q", "origin", "main"]);
    let url = format!("file://{}", folder.path().join("remote.git").display());
    git(folder.path(), &["clone", "-q", "--depth", "1", &url, "shallow"]);
    let repo = folder.path().join("shallow");
    let error = Fixture::new().refused("git_changed", json!({"repo": repo, "from": first})).await;
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(error.hint.unwrap().ends_with("fetch --unshallow"));
}

#[tokio::test]
async fn head_shows_commit_branch_and_dirty_state() {
    let folder = tempfile::tempdir().unwrap();
    let repo = Repo::init(folder.path().into());
    repo.write("a", "a");
    let commit = repo.commit("the subject\n\nthe body");
    let fixture = Fixture::new();
    let head = async || fixture.ask("git_head", json!({"repo": repo.path})).await.unwrap();
    let clean = head().await;
    assert_eq!((&clean["commit"], &clean["short"]), (&json!(commit), &json!(&commit[..12])));
    assert_eq!((&clean["branch"], &clean["message"]), (&json!("main"), &json!("the subject")));
    assert_eq!(clean["dirty"], false);
    repo.write("untracked", "x");
    assert_eq!(head().await["dirty"], false);
    repo.write("a", "b");
    assert_eq!(head().await["dirty"], true);
    repo.git(&["checkout", "-q", "-f", "--detach"]);
    assert_eq!(head().await["branch"], json!(null));
}

#[tokio::test]
async fn pull_fast_forwards_and_is_undone() {
    let folder = tempfile::tempdir().unwrap();
    let (author, server) = remote_and_clones(folder.path());
    let fixture = Fixture::new();
    let pull = json!({"repo": server.path});
    let one = server.git(&["rev-parse", "HEAD"]);
    let nothing = fixture.ask("git_pull", pull.clone()).await.unwrap();
    assert_eq!(nothing, json!({"from": one, "to": one, "updated": false}));
    author.write("b.txt", "two\n");
    let two = author.commit("two");
    author.git(&["push", "-q", "origin", "main"]);
    let moved = fixture.ask("git_pull", pull.clone()).await.unwrap();
    assert_eq!(moved, json!({"from": one, "to": two, "updated": true}));
    assert!(server.exists("b.txt"));
    let back = json!({"repo": server.path, "back_to": one});
    assert_eq!(fixture.ask("git_pull", back.clone()).await.unwrap()["to"], json!(one));
    assert!(!server.exists("b.txt"));
    assert_eq!(fixture.ask("git_pull", back).await.unwrap()["updated"], false);
}

#[tokio::test]
async fn pull_never_merges_nor_overwrites() {
    let folder = tempfile::tempdir().unwrap();
    let (author, server) = remote_and_clones(folder.path());
    author.write("a.txt", "two\n");
    author.commit("two");
    author.git(&["push", "-q", "origin", "main"]);
    let fixture = Fixture::new();
    let pull = json!({"repo": server.path});
    server.write("a.txt", "changed by hand\n");
    let dirty = fixture.refused("git_pull", pull.clone()).await;
    assert_eq!(dirty.kind, ErrorKind::Conflict);
    assert!(dirty.detail.unwrap().contains("a.txt"));
    assert_eq!(std::fs::read_to_string(server.path.join("a.txt")).unwrap(), "changed by hand\n");
    let mine = server.commit("mine");
    let diverged = fixture.refused("git_pull", pull).await;
    assert_eq!((diverged.kind, diverged.applied), (ErrorKind::Conflict, Applied::No));
    assert_eq!(server.git(&["rev-parse", "HEAD"]), mine);
}

#[tokio::test]
async fn a_pull_that_cannot_fetch_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (_, server) = remote_and_clones(folder.path());
    let fixture = Fixture::new();
    let unknown = fixture.refused("git_pull", json!({"repo": server.path, "branch": "nope"})).await;
    assert_eq!((unknown.kind, unknown.applied), (ErrorKind::Failed, Applied::No));
    assert!(unknown.detail.unwrap().contains("nope"));
    for (key, value) in [("branch", "--upload-pack=touch /tmp/x"), ("remote", "-x"), ("branch", "")] {
        let error = fixture.refused("git_pull", json!({"repo": server.path, key: value})).await;
        assert_eq!((error.kind, error.applied), (ErrorKind::Invalid, Applied::No), "{value}");
    }
    server.git(&["checkout", "-q", "--detach"]);
    assert_eq!(fixture.refused("git_pull", json!({"repo": server.path})).await.kind, ErrorKind::Conflict);
}
