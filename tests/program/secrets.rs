//! Secret values in every input of the local engine and of the services, which the other side sends back, both in success
//! and in failure. None may appear anywhere.

use crate::support;

use std::process::Command;

use support::deployer::Deployer;
use support::leak_detector::LeakDetector;
use support::ports::free_port;
use support::smtp_receiver::{SmtpBehaviour, SmtpReceiver};
use support::webhook_receiver::{Received, WebhookReceiver, WebhookReply};

/// Responds with everything that the request contained, in the body and in a header.
fn echo(request: &Received) -> WebhookReply {
    let text = format!("{} {}\n{:#?}\n{}\n", request.method, request.path, request.headers, request.body);
    let status = if request.path.contains("fail") { 500 } else { 200 };
    let header = request.headers.get("x-token").cloned().unwrap_or_default();
    WebhookReply::new(status, text).header("x-token-received", &header)
}

/// The start of every script: a function that prints an error in every way that a script has.
const PRINT_ERROR: &str = r#"
fn print_error(e) { log(`${e.message}`); if "detail" in e { print(`${e.detail}`); } if "hint" in e { warn(`${e.hint}`); } }
"#;

/// Returns script code that prints the result or the error of a call.
fn attempt(call: &str) -> String {
    format!("try {{ let r = {call}; log(r); print(r); }} catch (e) {{ print_error(e); log(e); }}\n")
}

/// Runs a script in two formats, the second time with all traces. [`LeakDetector::record_state`] covers the third format.
fn run(deployer: &Deployer, detector: &mut LeakDetector, name: &str, body: &str, code: i32) {
    let script = deployer.file(&format!("{name}.rhai"), &format!("{PRINT_ERROR}{body}"));
    let finished = deployer.run(&script, &["--format", "json", "--verbose"]).code(code);
    detector.record_output(name, &finished);
    let mut command = deployer.command(&["run", &script, "--engine", "local", "--format", "pretty"]);
    let output = command.env("DEPLOYER_LOG", "trace").output().unwrap();
    detector.record(&format!("{name} traced: stdout"), output.stdout);
    detector.record(&format!("{name} traced: stderr"), output.stderr);
}

/// Opens a connection that keeps the write-ahead log of the journal on disk, so that it is searched too.
fn keep_journal_log(deployer: &Deployer) -> rusqlite::Connection {
    let script = deployer.file("first.rhai", "log(\"first\");");
    deployer.run(&script, &[]).ok();
    let connection = rusqlite::Connection::open(deployer.state().join("journal.db")).unwrap();
    connection.query_row("SELECT count(*) FROM runs", [], |_| Ok(())).unwrap();
    connection
}

#[test]
fn secrets_of_programs_are_redacted() {
    let mut detector = LeakDetector::default()
        .plain(&["ARGUMENT", "VARIABLE", "STDIN", "LINE", "THROWN", "STEP", "VALUE", "PARAMETER"])
        .multiline("KEY");
    let deployer = detector.give_to(Deployer::local());
    let _connection = keep_journal_log(&deployer);
    let all = r#"["/bin/sh", "-c", "echo \"$0\"; echo \"$V\" >&2; cat; exit $CODE", secret("ARGUMENT")]"#;
    let mut body = String::new();
    for code in [0, 3] {
        let options = format!(
            r#"#{{environment: #{{V: secret("VARIABLE"), CODE: "{code}"}}, stdin: secret("STDIN") + "\n" + secret("KEY")}}"#
        );
        body += &attempt(&format!("exec({all}, {options})"));
        body += &attempt(&format!(r#"exec(#{{shell: "echo '" + secret("LINE") + "'; exit {code}"}})"#));
    }
    // Printed as it is encoded in JSON, in a URL and in a header.
    body += &attempt(
        r#"exec(["python3", "-c", "import sys, json, base64, urllib.parse as u; v = sys.stdin.read(); print(json.dumps(v), u.quote(v), u.quote_plus(v), base64.b64encode(('me:' + v).encode()).decode())"], #{stdin: secret("VALUE")})"#,
    );
    body += r#"
        let t = exec(["cat"], #{stdin: secret("STEP")}).stdout;
        step t { log(t); exec(["echo", t]); }
        parallel([|| exec(["echo", t]), || log(t)]);
        on_rollback(|| log(t));
        volume_create("data");
        let p = exec(["cat"], #{stdin: secret("THROWN")}).stdout;
        on_finish(|end| log(end));
        fail(p, p);
    "#;
    run(&deployer, &mut detector, "programs", &body, 1);
    let text = "let p = params(#{token: required(\"string\", \"a secret\")});\n\
                let r = exec([\"cat\"], #{stdin: p.token}); log(p); log(p.token); #{v: r.stdout}";
    let script = deployer.file("parameter.rhai", text);
    let config = deployer.file("deploy.toml", "token = { secret_text = [{ secret = \"PARAMETER\" }] }\n");
    detector.record_output("parameter", &deployer.run(&script, &["--config", &config]).ok());
    detector.record_state(&deployer);
    detector.assert_hidden(&["ARGUMENT", "VARIABLE", "STDIN", "LINE", "THROWN", "STEP", "VALUE", "PARAMETER", "KEY"]);
}

#[test]
fn secrets_of_requests_and_emails_are_redacted() {
    let mut detector = LeakDetector::default().plain(&["BODY", "JSON", "PASSWORD"]).for_urls(&[
        "PATH_PART",
        "HEADER",
        "HEALTH",
        "HOOK",
        "BAD_URL",
        "LOGIN",
    ]);
    let deployer = detector.give_to(Deployer::local());
    let _connection = keep_journal_log(&deployer);
    let server = WebhookReceiver::answering(echo);
    let mail = SmtpReceiver::with(SmtpBehaviour { refuses_recipients: true, ..SmtpBehaviour::default() });
    let closed_port = format!("http://127.0.0.1:{}", free_port());
    let mut body = String::new();
    for base in [server.url("/ok/"), server.url("/fail/"), closed_port] {
        let url = format!(r#""{base}" + secret("PATH_PART") + "?q=" + secret("PATH_PART")"#);
        let headers = r#"headers: #{"x-token": secret("HEADER"), "authorization": "Bearer " + secret("HEADER")}"#;
        let with_login = base.replace("http://", "");
        body += &attempt(&format!("http_get({url}, #{{{headers}}})"));
        body += &attempt(&format!(r#"http_get("http://me:" + secret("LOGIN") + "@{with_login}")"#));
        body += &attempt(&format!(r#"http_post({url}, #{{{headers}, body: secret("BODY")}})"#));
        body += &attempt(&format!(r#"http_post({url}, #{{json: #{{a: [secret("JSON")]}}}})"#));
        body += &attempt(&format!(
            r#"health_wait(#{{url: "{base}" + secret("HEALTH"), headers: #{{"x-token": secret("HEALTH")}}, timeout: "1s", steady: "0s"}})"#
        ));
        for channel in ["webhook", "slack", "discord", "teams"] {
            body += &attempt(&format!(
                r#"notify(#{{channel: "{channel}", url: "{base}" + secret("HOOK"), message: "m", service: "s"}})"#
            ));
        }
    }
    body += &attempt(r#"http_get("not a url " + secret("BAD_URL"))"#);
    body += &attempt(r#"http_get("ftp://h/" + secret("BAD_URL"))"#);
    body += &attempt(r#"http_get("http://h/", #{headers: #{"x": secret("BAD_URL") + "\n"}})"#);
    for smtp in [mail.address.to_string(), format!("127.0.0.1:{}", free_port())] {
        body += &attempt(&format!(
            r#"notify(#{{channel: "email", smtp: "{smtp}", smtp_security: "none", username: "me", password: secret("PASSWORD"), from: "a@example.com", to: ["b@example.com"], message: "m"}})"#
        ));
    }
    run(&deployer, &mut detector, "requests", &body, 0);
    detector.record_state(&deployer);
    detector.assert_hidden(&["BODY", "JSON", "PATH_PART", "HEADER", "HEALTH", "LOGIN"]);
}

const DOCKERFILE: &str = "FROM scratch\nARG TOKEN\nCOPY run.sh /run.sh\nCMD [\"/bin/sh\", \"/run.sh\"]\n";
const PROGRAM: &str = "echo \"told: $V\"; echo \"$V\" >&2; exec sleep 600\n";

#[test]
fn secrets_of_local_services_and_repositories_are_redacted() {
    let mut detector = LeakDetector::default().plain(&["BUILD", "SERVICE", "INSIDE"]).for_urls(&["GIT"]);
    let deployer = detector.give_to(Deployer::local());
    let _connection = keep_journal_log(&deployer);
    let app = deployer.home().join("app");
    std::fs::create_dir(&app).unwrap();
    std::fs::write(app.join("Dockerfile"), DOCKERFILE).unwrap();
    std::fs::write(app.join("run.sh"), PROGRAM).unwrap();
    let repo = deployer.home().join("repo");
    let remote = format!("http://me:{}@127.0.0.1:{}/repo.git", detector.value("GIT"), free_port());
    for args in [
        vec!["init", "-q", "-b", "main", repo.to_str().unwrap()],
        vec![
            "-C",
            repo.to_str().unwrap(),
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            "x",
        ],
        vec!["-C", repo.to_str().unwrap(), "remote", "add", "origin", &remote],
    ] {
        assert!(Command::new("git").args(args).status().unwrap().success());
    }
    let mut body = attempt(r#"docker_build(#{context: "app", tag: "app:v1", args: #{TOKEN: secret("BUILD")}})"#);
    body += r#"docker_build(#{context: "app", tag: "app:v1"});
        docker_run(#{name: "app", image: "app:v1", environment: #{V: secret("SERVICE")}});
        let n = 0;
        while n < 100 && !docker_logs("app").contains("told") { sleep("50ms"); n += 1; }
        log(docker_inspect("app")); log(docker_logs("app"));
        "#;
    for code in [0, 3] {
        body += &attempt(&format!(
            r#"docker_exec("app", ["/bin/sh", "-c", "echo \"$0 $X\"; echo \"$V\"; exit {code}", secret("INSIDE")], #{{environment: #{{X: secret("INSIDE")}}}})"#
        ));
    }
    // A credential in the git configuration, which deployer does not know as a secret.
    body += &attempt(r#"git_pull(#{repo: "repo", remote: "origin", branch: "main"})"#);
    body += r#"docker_remove(#{container: "app", force: true}); docker_image_remove("app:v1");"#;
    run(&deployer, &mut detector, "services", &body, 0);
    detector.record_state(&deployer);
    detector.assert_hidden(&["SERVICE", "INSIDE"]);
}

#[test]
fn a_secret_too_short_for_redaction_gives_one_warning() {
    let deployer = Deployer::local().env("PIN", "123");
    let script = deployer.file("pin.rhai", r#"for i in 0..3 { exec(["true", secret("PIN")]); }"#);
    let finished = deployer.run(&script, &[]).ok().says("secret `PIN` has fewer than 4 characters");
    assert_eq!(finished.said().matches("fewer than 4").count(), 1, "{}", finished.said());
}
