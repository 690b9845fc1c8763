//! Secret values in every input of the local engine and of the services, told back by the other side, in success and in
//! failure: none may be seen anywhere.

mod support;

use std::process::Command;

use support::deployer::Deployer;
use support::planted::Planted;
use support::ports::free_port;
use support::smtp_receiver::{Manners, SmtpReceiver};
use support::webhook_receiver::{Answer, Received, WebhookReceiver};

/// Tells everything that it was sent, in the body and in a header.
fn echo(request: &Received) -> Answer {
    let told = format!("{} {}\n{:#?}\n{}\n", request.method, request.path, request.headers, request.body);
    let status = if request.path.contains("fail") { 500 } else { 200 };
    let header = request.headers.get("x-token").cloned().unwrap_or_default();
    Answer::new(status, told).header("x-told", &header)
}

/// What every script begins with: tells of a failure in every way that a script has.
const ATTEMPT: &str = r#"
fn told(e) { log(`${e.message}`); if "detail" in e { print(`${e.detail}`); } if "hint" in e { warn(`${e.hint}`); } }
"#;

fn attempt(call: &str) -> String {
    format!("try {{ let r = {call}; log(r); print(r); }} catch (e) {{ told(e); log(e); }}\n")
}

/// Runs it twice, once with everything that the program can tell of itself. `show` has the third format.
fn run(deployer: &Deployer, planted: &mut Planted, name: &str, body: &str, code: i32) {
    let script = deployer.file(&format!("{name}.rhai"), &format!("{ATTEMPT}{body}"));
    let finished = deployer.run(&script, &["--format", "json", "--verbose"]).code(code);
    planted.saw_finished(name, &finished);
    let mut command = deployer.command(&["run", &script, "--engine", "local", "--format", "pretty"]);
    let output = command.env("DEPLOYER_LOG", "trace").output().unwrap();
    planted.saw(&format!("{name} traced: stdout"), output.stdout);
    planted.saw(&format!("{name} traced: stderr"), output.stderr);
}

/// Keeps the journal's log on the disk, so that it is searched too.
fn hold_log(deployer: &Deployer) -> rusqlite::Connection {
    let script = deployer.file("first.rhai", "log(\"first\");");
    deployer.run(&script, &[]).ok();
    let held = rusqlite::Connection::open(deployer.state().join("journal.db")).unwrap();
    held.query_row("SELECT count(*) FROM runs", [], |_| Ok(())).unwrap();
    held
}

#[test]
fn of_programs() {
    let mut planted = Planted::default()
        .plain(&["ARGUMENT", "VARIABLE", "STDIN", "LINE", "THROWN", "STEP", "VALUE", "PARAMETER"])
        .of_lines("KEY");
    let deployer = planted.give(Deployer::local());
    let _held = hold_log(&deployer);
    let all = r#"["/bin/sh", "-c", "echo \"$0\"; echo \"$V\" >&2; cat; exit $CODE", secret("ARGUMENT")]"#;
    let mut body = String::new();
    for code in [0, 3] {
        let options = format!(
            r#"#{{environment: #{{V: secret("VARIABLE"), CODE: "{code}"}}, stdin: secret("STDIN") + "\n" + secret("KEY")}}"#
        );
        body += &attempt(&format!("exec({all}, {options})"));
        body += &attempt(&format!(r#"exec(#{{shell: "echo '" + secret("LINE") + "'; exit {code}"}})"#));
    }
    // Told as it looks inside of JSON, of a URL and of a header.
    body += &attempt(
        r#"exec(["python3", "-c", "import sys, json, base64, urllib.parse as u; v = sys.stdin.read(); print(json.dumps(v), u.quote(v), u.quote_plus(v), base64.b64encode(('me:' + v).encode()).decode())"], #{stdin: secret("VALUE")})"#,
    );
    body += r#"
        let t = exec(["cat"], #{stdin: secret("STEP")}).stdout;
        step t { log(t); exec(["echo", t]); }
        parallel([|| exec(["echo", t]), || log(t)]);
        on_rollback(|| log(t));
        volume_create("planted");
        let p = exec(["cat"], #{stdin: secret("THROWN")}).stdout;
        on_finish(|end| log(end));
        fail(p, p);
    "#;
    run(&deployer, &mut planted, "programs", &body, 1);
    let text = "let p = params(#{token: required(\"string\", \"a secret\")});\n\
                let r = exec([\"cat\"], #{stdin: p.token}); log(p); log(p.token); #{v: r.stdout}";
    let script = deployer.file("parameter.rhai", text);
    let config = deployer.file("deploy.toml", "token = { secret_text = [{ secret = \"PARAMETER\" }] }\n");
    planted.saw_finished("parameter", &deployer.run(&script, &["--config", &config]).ok());
    planted.saw_state(&deployer);
    planted.assert_hidden(&["ARGUMENT", "VARIABLE", "STDIN", "LINE", "THROWN", "STEP", "VALUE", "PARAMETER", "KEY"]);
}

#[test]
fn of_requests_and_letters() {
    let mut planted = Planted::default().plain(&["BODY", "JSON", "PASSWORD"]).for_urls(&[
        "PATH_PART",
        "HEADER",
        "HEALTH",
        "HOOK",
        "BAD_URL",
        "LOGIN",
    ]);
    let deployer = planted.give(Deployer::local());
    let _held = hold_log(&deployer);
    let server = WebhookReceiver::answering(echo);
    let mail = SmtpReceiver::with(Manners { refuses_receivers: true, ..Manners::default() });
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let mut body = String::new();
    for place in [server.url("/ok/"), server.url("/fail/"), nowhere] {
        let url = format!(r#""{place}" + secret("PATH_PART") + "?q=" + secret("PATH_PART")"#);
        let headers = r#"headers: #{"x-token": secret("HEADER"), "authorization": "Bearer " + secret("HEADER")}"#;
        let with_login = place.replace("http://", "");
        body += &attempt(&format!("http_get({url}, #{{{headers}}})"));
        body += &attempt(&format!(r#"http_get("http://me:" + secret("LOGIN") + "@{with_login}")"#));
        body += &attempt(&format!(r#"http_post({url}, #{{{headers}, body: secret("BODY")}})"#));
        body += &attempt(&format!(r#"http_post({url}, #{{json: #{{a: [secret("JSON")]}}}})"#));
        body += &attempt(&format!(
            r#"health_wait(#{{url: "{place}" + secret("HEALTH"), headers: #{{"x-token": secret("HEALTH")}}, timeout: "1s", steady: "0s"}})"#
        ));
        for channel in ["webhook", "slack", "discord", "teams"] {
            body += &attempt(&format!(
                r#"notify(#{{channel: "{channel}", url: "{place}" + secret("HOOK"), message: "m", service: "s"}})"#
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
    run(&deployer, &mut planted, "requests", &body, 0);
    planted.saw_state(&deployer);
    planted.assert_hidden(&["BODY", "JSON", "PATH_PART", "HEADER", "HEALTH", "LOGIN"]);
}

const DOCKERFILE: &str = "FROM scratch\nARG TOKEN\nCOPY run.sh /run.sh\nCMD [\"/bin/sh\", \"/run.sh\"]\n";
const PROGRAM: &str = "echo \"told: $V\"; echo \"$V\" >&2; exec sleep 600\n";

#[test]
fn of_local_services_and_repositories() {
    let mut planted = Planted::default().plain(&["BUILD", "SERVICE", "INSIDE"]).for_urls(&["GIT"]);
    let deployer = planted.give(Deployer::local());
    let _held = hold_log(&deployer);
    let app = deployer.home().join("app");
    std::fs::create_dir(&app).unwrap();
    std::fs::write(app.join("Dockerfile"), DOCKERFILE).unwrap();
    std::fs::write(app.join("run.sh"), PROGRAM).unwrap();
    let repo = deployer.home().join("repo");
    let remote = format!("http://me:{}@127.0.0.1:{}/repo.git", planted.value("GIT"), free_port());
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
    // Known to git alone: deployer never heard of it.
    body += &attempt(r#"git_pull(#{repo: "repo", remote: "origin", branch: "main"})"#);
    body += r#"docker_remove(#{container: "app", force: true}); docker_image_remove("app:v1");"#;
    run(&deployer, &mut planted, "services", &body, 0);
    planted.saw_state(&deployer);
    planted.assert_hidden(&["SERVICE", "INSIDE"]);
}

#[test]
fn too_short_to_be_found_are_warned_of_once() {
    let deployer = Deployer::local().env("PIN", "123");
    let script = deployer.file("pin.rhai", r#"for i in 0..3 { exec(["true", secret("PIN")]); }"#);
    let finished = deployer.run(&script, &[]).ok().says("secret `PIN` has fewer than 4 characters");
    assert_eq!(finished.said().matches("fewer than 4").count(), 1, "{}", finished.said());
}
