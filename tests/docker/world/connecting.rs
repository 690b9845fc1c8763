//! Connecting to an engine, and the errors when that fails.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use deployer::effect::ErrorKind;
use deployer::effect::container::RunContainer;
use deployer::world::docker::{ConnectSpec, DockerWorld};
use deployer::world::engine::Engine;

use serde_json::json;

use super::bench::{Bench, CONNECT, IMAGE, answers, eventually, free_port, holder, refused, unchanged};

/// An ssh server for the test.
struct Sshd {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Sshd {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for key in ["host_key", "user_key"] {
            let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path(key)).status();
            assert!(made.expect("openssh-client is installed").success());
        }
        fs::copy(path("user_key.pub"), path("authorized_keys")).unwrap();
        fs::set_permissions(path("authorized_keys"), fs::Permissions::from_mode(0o600)).unwrap();
        let port = free_port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
             StrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n",
            path("host_key").display(),
            path("authorized_keys").display(),
        );
        fs::write(path("sshd_config"), config).unwrap();
        fs::create_dir_all("/run/sshd").unwrap();
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(path("sshd_config"))
            .stderr(Stdio::null())
            .spawn()
            .expect("openssh-server is installed");
        let sshd = Self { child, port, folder };
        answers(([127, 0, 0, 1], port).into()).await;
        sshd
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The machine's ssh, but with the test's key and known hosts.
fn ssh_with(folder: &Path) -> std::path::PathBuf {
    let known = folder.join("known_hosts");
    let program = folder.join("ssh");
    let script = format!(
        "#!/bin/sh\nexec /usr/bin/ssh -F none -i {} -o UserKnownHostsFile={} -o StrictHostKeyChecking=no \
         -o IdentitiesOnly=yes -o LogLevel=ERROR \"$@\"\n",
        folder.join("user_key").display(),
        known.display(),
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

#[tokio::test]
async fn an_engine_is_reached_through_ssh() {
    let local = Bench::new().await;
    let socket = local
        .world
        .engine()
        .address()
        .strip_prefix("unix://")
        .expect("the engine of the tests has a Unix socket")
        .to_owned();
    let sshd = Sshd::start().await;
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name;
    let address = format!("ssh://{user}@127.0.0.1:{}{socket}", sshd.port);
    let spec = ConnectSpec { ssh_program: ssh_with(sshd.folder.path()), ..ConnectSpec::at(&address) };
    let bench = Bench::over(DockerWorld::open(spec.clone(), holder(), CONNECT).await.unwrap());
    let engine = bench.world.engine();
    assert!(!engine.is_on_this_host());
    let (_, tunnel) = engine.compose_environment().unwrap().remove(0);
    let tunnel = tunnel.strip_prefix("unix://").unwrap().to_owned();
    assert!(Path::new(&tunnel).exists());

    let container = bench
        .json::<RunContainer>(json!({
            "name": bench.name("web"), "image": IMAGE, "command": ["httpd", "-f", "-p", "5000"], "ports": ["0:5000"],
        }))
        .await
        .unwrap();
    let address = engine.endpoint(&container, None).await.unwrap();
    assert_eq!(address.ip().to_string(), "127.0.0.1", "the address of the other machine");
    answers(address).await;
    drop(engine);
    drop(bench);
    eventually("the tunnel is gone", || async { (!Path::new(&tunnel).exists()).then_some(()) }).await;

    // A key that the server does not know.
    fs::write(sshd.folder.path().join("authorized_keys"), "").unwrap();
    let error = refused(DockerWorld::open(spec.clone(), holder(), CONNECT).await, ErrorKind::Unavailable);
    unchanged(&error);
    assert!(error.message.starts_with("ssh to `127.0.0.1` failed: ") && error.message.contains("denied"), "{error}");
    assert!(error.hint.unwrap().contains(&format!("ssh -p {} -l {user} 127.0.0.1 docker version", sshd.port)));
    let without_ssh = ConnectSpec { ssh_program: "/no/such/ssh".into(), ..spec };
    refused(DockerWorld::open(without_ssh, holder(), CONNECT).await, ErrorKind::MissingTool);
}

#[tokio::test]
async fn an_unreachable_engine_is_reported_with_its_address() {
    for (address, why) in [
        ("unix:///no/such/docker.sock".to_owned(), "the socket does not exist"),
        (format!("tcp://127.0.0.1:{}", free_port()), "Connection refused"),
    ] {
        let error =
            refused(DockerWorld::open(ConnectSpec::at(&address), holder(), CONNECT).await, ErrorKind::Unavailable);
        unchanged(&error);
        let expected = format!("no docker engine answers at `{address}` (chosen by `--docker-host`): ");
        assert!(error.message.starts_with(&expected), "{error}");
        assert!(error.message.contains(why), "{error}");
        assert!(error.hint.unwrap().contains("`--engine local`"));
    }
}

#[tokio::test]
async fn connecting_to_a_silent_engine_times_out() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let spec = ConnectSpec::at(format!("unix://{}", socket.display()));
    let start = Instant::now();
    let error = refused(DockerWorld::open(spec, holder(), Duration::from_millis(300)).await, ErrorKind::Unavailable);
    assert!(error.message.contains("no answer within"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
}
