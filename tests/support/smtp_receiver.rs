//! A real SMTP server on loopback, without TLS, that keeps the emails it receives. It needs no runtime.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// An email as received.
#[derive(Clone, Debug, Default)]
pub struct Email {
    pub from: String,
    pub to: Vec<String>,
    /// Headers and body, with `\n` as line ending and without dot stuffing.
    pub text: String,
    /// The decoded argument of `AUTH PLAIN`: NUL, name, NUL, password.
    pub credentials: Option<String>,
}

impl Email {
    pub fn headers(&self) -> &str {
        self.text.split("\n\n").next().unwrap_or_default()
    }

    pub fn body(&self) -> &str {
        self.text.split_once("\n\n").map_or("", |(_, body)| body)
    }
}

/// How the server behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct SmtpBehaviour {
    /// Rejects every recipient.
    pub refuses_recipients: bool,
    /// Accepts connections and never sends anything.
    pub is_silent: bool,
}

pub struct SmtpReceiver {
    pub address: SocketAddr,
    emails: Arc<Mutex<Vec<Email>>>,
    stopped: Arc<AtomicBool>,
}

impl SmtpReceiver {
    pub fn start() -> Self {
        Self::with(SmtpBehaviour::default())
    }

    pub fn with(behaviour: SmtpBehaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let emails = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let (received, stop) = (Arc::clone(&emails), Arc::clone(&stopped));
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                if behaviour.is_silent {
                    silent.push(stream);
                    continue;
                }
                let received = Arc::clone(&received);
                std::thread::spawn(move || serve(stream, behaviour, &received));
            }
        });
        Self { address, emails, stopped }
    }

    pub fn emails(&self) -> Vec<Email> {
        self.emails.lock().unwrap().clone()
    }
}

impl Drop for SmtpReceiver {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, behaviour: SmtpBehaviour, received: &Mutex<Vec<Email>>) -> std::io::Result<()> {
    use base64::Engine as _;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut say = |line: &str| stream.write_all(format!("{line}\r\n").as_bytes());
    let mut email = Email::default();
    say("220 receiver ready")?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        let address = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        match line.to_ascii_uppercase().split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => say("250-receiver\r\n250-8BITMIME\r\n250 AUTH PLAIN")?,
            "AUTH" => {
                let coded = line.rsplit(' ').next().unwrap_or_default();
                let decoded = base64::engine::general_purpose::STANDARD.decode(coded).unwrap_or_default();
                email.credentials = Some(String::from_utf8_lossy(&decoded).into_owned());
                say("235 welcome")?;
            }
            "MAIL" => {
                email.from = address();
                say("250 ok")?;
            }
            "RCPT" if behaviour.refuses_recipients => say("550 5.1.1 no such mailbox")?,
            "RCPT" => {
                email.to.push(address());
                say("250 ok")?;
            }
            "DATA" => {
                say("354 go on")?;
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line)? == 0 || line == ".\r\n" {
                        break;
                    }
                    email.text.push_str(line.strip_prefix('.').unwrap_or(&line).trim_end_matches(['\r', '\n']));
                    email.text.push('\n');
                }
                received.lock().unwrap().push(std::mem::take(&mut email));
                say("250 kept")?;
            }
            "QUIT" => return say("221 bye"),
            _ => say("250 ok")?,
        }
    }
}
