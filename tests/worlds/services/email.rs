use std::net::TcpListener;

use deployer::effect::ErrorKind;
use serde_json::{Value, json};

use super::{Fixture, SECRET};
use crate::support::smtp_receiver::{SmtpBehaviour, SmtpReceiver};

fn mail(server: impl ToString) -> Value {
    json!({
        "channel": "email", "smtp": server.to_string(), "smtp_security": "none", "timeout": "2s",
        "from": "Deployer <deployer@localhost>", "to": ["one@localhost", "two@localhost"],
        "event": "failed", "service": "web", "message": "port taken\n.\nand a dot",
    })
}

#[tokio::test]
async fn a_message_is_sent_with_credentials() {
    let server = SmtpReceiver::start();
    let mut request = mail(server.address);
    request["username"] = json!("me");
    request["password"] = json!({"secret_text": [{"secret": "TOKEN"}]});
    let reply = Fixture::new().ask("notify", request).await.unwrap();
    assert_eq!(reply, json!({"delivered": true, "error": null}));
    let message = server.emails().remove(0);
    assert_eq!(
        (message.from.as_str(), message.to.as_slice()),
        ("deployer@localhost", ["one@localhost", "two@localhost"].map(String::from).as_slice())
    );
    assert!(message.headers().contains("Subject: web: failed"), "{}", message.headers());
    assert!(message.headers().contains("text/plain; charset=utf-8"), "{}", message.headers());
    assert_eq!(message.credentials, Some(format!("\0me\0{SECRET}")));
    let expected = "web: failed\nThe release was not deployed.\nport taken\n.\nand a dot\nservice: web";
    assert_eq!(message.body().trim_end(), expected);
}

#[tokio::test]
async fn headers_cannot_be_injected() {
    let server = SmtpReceiver::start();
    let mut request = mail(server.address);
    request["service"] = json!("web\r\nBcc: victim@localhost\r\n\r\nhello");
    Fixture::new().ask("notify", request).await.unwrap();
    let message = server.emails().remove(0);
    assert!(!message.headers().lines().any(|line| line.starts_with("Bcc")), "{}", message.headers());
    assert_eq!(message.to.len(), 2);
    for (key, value) in [("from", json!("a@b\r\nBcc: x@y")), ("to", json!(["a@b>\r\nRCPT TO:<x@y"]))] {
        let mut request = mail(server.address);
        request[key] = value;
        assert_eq!(Fixture::new().refused("notify", request).await.kind, ErrorKind::Invalid, "{key}");
    }
}

#[tokio::test]
async fn a_failed_delivery_is_an_outcome() {
    let fixture = Fixture::new();
    let refusing = SmtpReceiver::with(SmtpBehaviour { refuses_recipients: true, ..SmtpBehaviour::default() });
    let reply = fixture.ask("notify", mail(refusing.address)).await.unwrap();
    assert_eq!(reply["error"], "mail server `127.0.0.1` answered 550: 5.1.1 no such mailbox");

    let silent = SmtpReceiver::with(SmtpBehaviour { is_silent: true, ..SmtpBehaviour::default() });
    let mut request = mail(silent.address);
    request["timeout"] = json!("200ms");
    assert_eq!(fixture.ask("notify", request).await.unwrap()["delivered"], false);

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let reply = fixture.ask("notify", mail(closed)).await.unwrap();
    assert_eq!(reply["error"], "mail server `127.0.0.1`: connection refused");

    let plain = SmtpReceiver::start();
    let mut request = mail(plain.address);
    request["smtp_security"] = json!("starttls");
    assert_eq!(fixture.ask("notify", request).await.unwrap()["delivered"], false);
    assert!(plain.emails().is_empty(), "nothing is sent unencrypted unless requested");
}

#[tokio::test]
async fn a_wrong_request_is_invalid() {
    let fixture = Fixture::new();
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
        assert_eq!(fixture.refused("notify", request.clone()).await.kind, ErrorKind::Invalid, "{request}");
    }
}
