//! Mail over SMTP: a plain text letter. The builder encodes every header, so none can be smuggled in.

use std::time::Duration;

use lettre::message::{Mailbox, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::template::Message;
use super::{Undelivered, clip, invalid, never_connected, reason};
use crate::effect::EffectError;
use crate::effect::notify::{Notify, SmtpSecurity};
use crate::world::Call;

/// Characters of a server's refusal that the reply shows.
const EVIDENCE: usize = 200;

/// A letter and the way to its server.
pub(super) struct Mail {
    letter: lettre::Message,
    host: String,
    port: u16,
    security: SmtpSecurity,
    credentials: Option<Credentials>,
}

impl Mail {
    /// # Errors
    /// `invalid` when the server, the sender or a receiver is missing or is not an address.
    pub(super) fn of(call: &Call, request: &Notify, message: &Message) -> Result<Self, EffectError> {
        let server = request.smtp.as_deref().ok_or_else(|| invalid("`smtp` (`HOST:PORT`) is needed for email"))?;
        let (host, port) = host_and_port(server, request.smtp_security)?;
        let from = request.from.as_deref().ok_or_else(|| invalid("`from` is needed for email"))?;
        if request.to.is_empty() {
            return Err(invalid("`to` is needed for email"));
        }
        let mut letter = lettre::Message::builder().from(mailbox(from)?).subject(&message.title);
        for receiver in &request.to {
            letter = letter.to(mailbox(receiver)?);
        }
        let letter = letter
            .singlepart(SinglePart::plain(message.plain()))
            .map_err(|error| invalid(format!("the mail cannot be written: {error}")))?;
        let credentials = match (&request.username, &request.password) {
            (Some(name), Some(password)) => {
                Some(Credentials::new(call.vault.reveal(name)?, call.vault.reveal(password)?))
            }
            (None, None) => None,
            _ => return Err(invalid("`username` and `password` belong together")),
        };
        Ok(Self { letter, host, port, security: request.smtp_security, credentials })
    }

    pub(super) async fn send(&self, timeout: Duration) -> Result<(), Undelivered> {
        let undelivered = |error: lettre::transport::smtp::Error| {
            let said = clip(&reason(&error), EVIDENCE);
            let why = match error.status() {
                Some(code) => format!("mail server `{}` answered {code}: {said}", self.host),
                None => format!("mail server `{}`: {said}", self.host),
            };
            Undelivered { why, may_retry: never_connected(&error) }
        };
        let tls = match self.security {
            SmtpSecurity::None => Tls::None,
            SmtpSecurity::Starttls => Tls::Required(TlsParameters::new(self.host.clone()).map_err(undelivered)?),
            SmtpSecurity::Tls => Tls::Wrapper(TlsParameters::new(self.host.clone()).map_err(undelivered)?),
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(self.host.clone())
            .port(self.port)
            .timeout(Some(timeout))
            .tls(tls);
        if let Some(credentials) = &self.credentials {
            transport = transport.credentials(credentials.clone());
        }
        transport.build().send(self.letter.clone()).await.map(drop).map_err(undelivered)
    }
}

fn mailbox(text: &str) -> Result<Mailbox, EffectError> {
    text.parse().map_err(|error| invalid(format!("`{text}` is not a mail address: {error}")))
}

/// The port of the kind of connection where none is given.
fn host_and_port(server: &str, security: SmtpSecurity) -> Result<(String, u16), EffectError> {
    let usual = match security {
        SmtpSecurity::Starttls => 587,
        SmtpSecurity::Tls => 465,
        SmtpSecurity::None => 25,
    };
    let wrong = || invalid(format!("`{server}` is not a mail server: write it like `mail.example.org:587`"));
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (server, usual),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || host.contains(char::is_whitespace) { Err(wrong()) } else { Ok((host.into(), port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_servers() {
        let read = |text| host_and_port(text, SmtpSecurity::Starttls).ok();
        assert_eq!(read("mail.example.org"), Some(("mail.example.org".into(), 587)));
        assert_eq!(read("mail.example.org:25"), Some(("mail.example.org".into(), 25)));
        assert_eq!(read("[::1]:2525"), Some(("::1".into(), 2525)));
        assert_eq!(read("[::1]"), Some(("::1".into(), 587)));
        for wrong in ["", ":25", "host:port", "a b"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
