//! Sends plain-text mail over SMTP. The builder encodes every header, so none can be injected.

use std::time::Duration;

use lettre::message::{Mailbox, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::delivery_error::{DeliveryError, invalid};
use super::message::Message;
use crate::effect::EffectError;
use crate::effect::notify::{Notify, SmtpSecurity};
use crate::world::Call;
use crate::world::services::error_text::{never_connected, root_cause, truncate};

/// Characters of the server's error that the reply shows.
const EXCERPT_LIMIT: usize = 200;

/// A mail and the server that takes it.
pub(super) struct Mail {
    message: lettre::Message,
    host: String,
    port: u16,
    security: SmtpSecurity,
    credentials: Option<Credentials>,
}

impl Mail {
    /// Builds the mail of a request.
    ///
    /// # Errors
    /// `invalid` when the server, the sender or a recipient is missing or is not a valid address.
    pub(super) fn new(call: &Call, request: &Notify, message: &Message) -> Result<Self, EffectError> {
        let server = request.required_smtp()?;
        let (host, port) = host_and_port(server, request.smtp_security)?;
        let from = request.required_from()?;
        let mut builder = lettre::Message::builder().from(mailbox(from)?).subject(&message.title);
        for recipient in request.required_to()? {
            builder = builder.to(mailbox(recipient)?);
        }
        let mail = builder
            .singlepart(SinglePart::plain(message.plain()))
            .map_err(|error| invalid(format!("cannot build the mail: {error}")))?;
        let credentials = match (&request.username, &request.password) {
            (Some(name), Some(password)) => {
                Some(Credentials::new(call.vault.reveal(name)?, call.vault.reveal(password)?))
            }
            (None, None) => None,
            _ => return Err(invalid("`username` and `password` must be set together")),
        };
        Ok(Self { message: mail, host, port, security: request.smtp_security, credentials })
    }

    pub(super) async fn send(&self, timeout: Duration) -> Result<(), DeliveryError> {
        let failed = |error: lettre::transport::smtp::Error| {
            let cause = truncate(&root_cause(&error), EXCERPT_LIMIT);
            let reason = match error.status() {
                Some(code) => format!("mail server `{}` answered {code}: {cause}", self.host),
                None => format!("mail server `{}`: {cause}", self.host),
            };
            DeliveryError { reason, may_retry: never_connected(&error) }
        };
        let tls = match self.security {
            SmtpSecurity::None => Tls::None,
            SmtpSecurity::Starttls => Tls::Required(TlsParameters::new(self.host.clone()).map_err(failed)?),
            SmtpSecurity::Tls => Tls::Wrapper(TlsParameters::new(self.host.clone()).map_err(failed)?),
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(self.host.clone())
            .port(self.port)
            .timeout(Some(timeout))
            .tls(tls);
        if let Some(credentials) = &self.credentials {
            transport = transport.credentials(credentials.clone());
        }
        transport.build().send(self.message.clone()).await.map(drop).map_err(failed)
    }
}

fn mailbox(text: &str) -> Result<Mailbox, EffectError> {
    text.parse().map_err(|error| invalid(format!("`{text}` is not a valid mail address: {error}")))
}

/// Splits `HOST[:PORT]`. The default port depends on the kind of connection.
fn host_and_port(server: &str, security: SmtpSecurity) -> Result<(String, u16), EffectError> {
    let default_port = match security {
        SmtpSecurity::Starttls => 587,
        SmtpSecurity::Tls => 465,
        SmtpSecurity::None => 25,
    };
    let malformed = || invalid(format!("`{server}` is not a mail server such as `mail.example.org:587`"));
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| malformed())?),
        _ => (server, default_port),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || host.contains(char::is_whitespace) { Err(malformed()) } else { Ok((host.into(), port)) }
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
