use std::net::TcpListener;

use deployer::effect::ErrorKind;
use serde_json::{Value, json};

use super::support::smtp_receiver::{Manners, SmtpReceiver};
use super::{Bench, SECRET};

fn mail(server: impl ToString) -> Value {
    json!({
        "channel": "email", "smtp": server.to_string(), "smtp_security": "none", "timeout": "2s",
        "from": "Deployer <deployer@localhost>", "to": ["one@localhost", "two@localhost"],
        "event": "failed", "service": "web", "message": "port taken\n.\nand a dot",
    })
}

#[tokio::test]
async fn a_letter_arrives_with_its_credentials() {
    let server = SmtpReceiver::start();
    let mut request = mail(server.address);
    request["username"] = json!("me");
    request["password"] = json!({"secret_text": [{"secret": "TOKEN"}]});
    let reply = Bench::new().ask("notify", request).await.unwrap();
    assert_eq!(reply, json!({"delivered": true, "error": null}));
    let letter = server.letters().remove(0);
    assert_eq!(
        (letter.from.as_str(), letter.to.as_slice()),
        ("deployer@localhost", ["one@localhost", "two@localhost"].map(String::from).as_slice())
    );
    assert!(letter.headers().contains("Subject: web: failed"), "{}", letter.headers());
    assert!(letter.headers().contains("text/plain; charset=utf-8"), "{}", letter.headers());
    assert_eq!(letter.credentials, Some(format!("\0me\0{SECRET}")));
    let expected = "web: failed\nThe release was not deployed.\nport taken\n.\nand a dot\nservice: web";
    assert_eq!(letter.body().trim_end(), expected);
}

#[tokio::test]
async fn no_header_can_be_smuggled_in() {
    let server = SmtpReceiver::start();
    let mut request = mail(server.address);
    request["service"] = json!("web\r\nBcc: victim@localhost\r\n\r\nhello");
    Bench::new().ask("notify", request).await.unwrap();
    let letter = server.letters().remove(0);
    assert!(!letter.headers().lines().any(|line| line.starts_with("Bcc")), "{}", letter.headers());
    assert_eq!(letter.to.len(), 2);
    for (key, value) in [("from", json!("a@b\r\nBcc: x@y")), ("to", json!(["a@b>\r\nRCPT TO:<x@y"]))] {
        let mut request = mail(server.address);
        request[key] = value;
        assert_eq!(Bench::new().refused("notify", request).await.kind, ErrorKind::Invalid, "{key}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_take_it_is_an_answer() {
    let bench = Bench::new();
    let refusing = SmtpReceiver::with(Manners { refuses_receivers: true, ..Manners::default() });
    let reply = bench.ask("notify", mail(refusing.address)).await.unwrap();
    assert_eq!(reply["error"], "mail server `127.0.0.1` answered 550: 5.1.1 nobody of that name here");

    let silent = SmtpReceiver::with(Manners { is_silent: true, ..Manners::default() });
    let mut request = mail(silent.address);
    request["timeout"] = json!("200ms");
    assert_eq!(bench.ask("notify", request).await.unwrap()["delivered"], false);

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let reply = bench.ask("notify", mail(closed)).await.unwrap();
    assert_eq!(reply["error"], "mail server `127.0.0.1`: connection refused");

    let plain = SmtpReceiver::start();
    let mut request = mail(plain.address);
    request["smtp_security"] = json!("starttls");
    assert_eq!(bench.ask("notify", request).await.unwrap()["delivered"], false);
    assert!(plain.letters().is_empty(), "a letter never goes out unencrypted unless asked for");
}

#[tokio::test]
async fn a_wrong_request_is_invalid() {
    let bench = Bench::new();
    for (key, value) in [
        ("smtp", json!(null)),
        ("smtp", json!("host:port")),
        ("from", json!(null)),
        ("to", json!([])),
        ("to", json!(["nonsense"])),
        ("username", json!("alone")),
    ] {
        let mut request = mail("127.0.0.1:1");
        request[key] = value;
        assert_eq!(bench.refused("notify", request.clone()).await.kind, ErrorKind::Invalid, "{request}");
    }
}
