//! A secret in every input is redacted in every output.

use std::fs;
use std::path::Path;

use super::service::Service;
use crate::support::deployer::Deployer;
use crate::support::webhook_receiver::WebhookReceiver;

const SECRET: &str = "hunter2-Zm9vYmFyCg";

/// Lists the files below a folder that contain `text`.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_with(&path, text));
        } else if fs::read(&path).is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes())) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn a_secret_reaches_its_receivers_and_no_output() {
    let receiver = WebhookReceiver::start();
    let service = Service::of(Deployer::local().env("API_TOKEN", SECRET));
    let url = format!("http://{}", receiver.address);
    let script = service.deployer.file(
        "secret.rhai",
        &format!(
            r#"
let token = secret("API_TOKEN");
docker_build(#{{ context: "{app}", tag: "web:v1", args: #{{ VERSION: "v1" }} }});
docker_run(#{{ name: "web", image: "web:v1", ports: ["{port}:5000"], environment: #{{ TOKEN: token }} }});
health_wait("web", #{{ path: "/", port: 5000 }});
http_get("{url}/get", #{{ headers: #{{ Authorization: "Bearer " + token }} }});
http_post("{url}/post?key=" + token, #{{ body: token }});
let said = exec(["sh", "-c", "echo \"$T\"; echo \"$T\" >&2"], #{{ environment: #{{ T: token }} }});
print(said.stdout + said.stderr);
let inside = docker_exec("web", ["sh", "-c", "echo $TOKEN"]);
print(inside.stdout);
print(docker_logs("web"));
print(token); log(token); log(`${{token}}`); print("a" + token + "z");
notify(#{{ channel: "webhook", url: "{url}/hook/" + token, event: "succeeded" }});
notify(#{{ channel: "webhook", url: "http://127.0.0.1:1/" + token, event: "succeeded" }});
try {{ exec(["sh", "-c", "echo $0; exit 3", token]); }} catch (error) {{ print(error); }}
try {{ http_get("http://127.0.0.1:1/" + token); }} catch (error) {{ print(error); }}
print(#{{ deep: [token] }});
exec(["sh", "-c", "echo $0 >&2; exit 3", token]);
"#,
            app = service.app().display(),
            port = service.port,
        ),
    );
    let mut output = String::new();
    for format in ["plain", "pretty", "json"] {
        output += &service.deployer.run(&script, &["--format", format]).code(1).said();
        output += &service.deployer.call(&["show", "last", "--format", format, "--verbose"]).ok().said();
        output += &service.deployer.call(&["runs", "--format", format]).ok().said();
    }
    let leaks: Vec<&str> = output.lines().filter(|line| line.contains(SECRET)).collect();
    assert!(leaks.is_empty(), "the secret was printed: {leaks:?}");
    assert!(output.contains("<secret API_TOKEN>"), "{output}");

    let received = receiver.received();
    assert!(received.iter().any(|got| got.headers.get("authorization") == Some(&format!("Bearer {SECRET}"))));
    assert!(received.iter().any(|got| got.body == SECRET), "the receiver got the secret");
    let found = files_with(service.deployer.state(), SECRET);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_secret_in_the_log_of_an_app_is_redacted() {
    let service = Service::of(Deployer::local().env("API_TOKEN", SECRET));
    let script = service.deployer.file(
        "logs.rhai",
        &format!(
            r#"docker_build(#{{ context: "{app}", tag: "web:v1", args: #{{ VERSION: "v1" }} }});
docker_run(#{{ name: "web", image: "web:v1", environment: #{{ TOKEN: secret("API_TOKEN"), STATUS: "500" }} }});
health_wait("web", #{{ path: "/", port: 5000, timeout: "1s" }});"#,
            app = service.app().display()
        ),
    );
    let failed = service.deployer.run(&script, &["--format", "json"]).code(1);
    assert!(failed.stdout.contains("token <secret API_TOKEN>"), "{}", failed.stdout);
    assert!(!failed.said().contains(SECRET), "{}", failed.said());
}

#[test]
fn secrets_named_by_parameters_reach_the_app_and_no_output() {
    const OTHER: &str = "correct-horse-battery-9";
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("other");
    fs::write(&file, format!("{OTHER}\n")).unwrap();
    let deployer = Deployer::local().env("API_TOKEN", SECRET).env("OTHER_FILE", file.to_str().unwrap());
    let service = Service::of(deployer);
    let mut output = String::new();
    for (version, more, timeout, code) in [("v1", "", "60s", 0), ("v2", "STATUS = \"500\"\n", "1s", 1)] {
        let timeout = format!("health.timeout={timeout}");
        let config = service.config(version, &format!("{more}[secrets]\nTOKEN = \"API_TOKEN\""));
        for format in ["plain", "json"] {
            let args = ["--config", &config, "--set", "secrets.OTHER=OTHER", "--set", &timeout];
            let args = [&args[..], &["--format", format]].concat();
            output += &service.deployer.run("bluegreen.rhai", &args).code(code).said();
            output += &service.deployer.call(&["show", "last", "--format", format, "--verbose"]).ok().said();
        }
    }
    let script = service
        .deployer
        .file("length.rhai", "print(docker_exec(\"web\", [\"sh\", \"-c\", \"echo ${#TOKEN} ${#OTHER}\"]).stdout);");
    let seen = service.deployer.run(&script, &[]).ok();
    assert_eq!(seen.stdout.trim(), format!("{} {}", SECRET.len(), OTHER.len()));
    for secret in [SECRET, OTHER] {
        let leaks: Vec<&str> = output.lines().filter(|line| line.contains(secret)).collect();
        assert!(leaks.is_empty(), "the secret was printed: {leaks:?}");
        let mut found = files_with(service.deployer.home(), secret);
        // The log of the app itself is stored unchanged, as with Docker. Only the output of deployer is redacted.
        found.retain(|path| !path.ends_with("/log"));
        assert!(found.is_empty(), "{found:?}");
    }
    assert!(output.contains("\"OTHER\":\"OTHER\"") && output.contains("API_TOKEN"), "secrets appear by name: {output}");
}
