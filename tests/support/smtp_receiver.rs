//! A real SMTP server on loopback, without TLS, that keeps the letters it was given. Needs no runtime.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One letter as it arrived.
#[derive(Clone, Debug, Default)]
pub struct Letter {
    pub from: String,
    pub to: Vec<String>,
    /// Headers and body, lines ended by `\n`, dots unstuffed.
    pub text: String,
    /// What came with `AUTH PLAIN`, decoded: NUL, name, NUL, password.
    pub credentials: Option<String>,
}

impl Letter {
    pub fn headers(&self) -> &str {
        self.text.split("\n\n").next().unwrap_or_default()
    }

    pub fn body(&self) -> &str {
        self.text.split_once("\n\n").map_or("", |(_, body)| body)
    }
}

/// How the server behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manners {
    /// Says no to every receiver.
    pub refuses_receivers: bool,
    /// Accepts connections and never says a word.
    pub is_silent: bool,
}

pub struct SmtpReceiver {
    pub address: SocketAddr,
    letters: Arc<Mutex<Vec<Letter>>>,
    stopped: Arc<AtomicBool>,
}

impl SmtpReceiver {
    pub fn start() -> Self {
        Self::with(Manners::default())
    }

    pub fn with(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let letters = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let (kept, stop) = (Arc::clone(&letters), Arc::clone(&stopped));
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                if manners.is_silent {
                    silent.push(stream);
                    continue;
                }
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || serve(stream, manners, &kept));
            }
        });
        Self { address, letters, stopped }
    }

    pub fn letters(&self) -> Vec<Letter> {
        self.letters.lock().unwrap().clone()
    }
}

impl Drop for SmtpReceiver {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, manners: Manners, kept: &Mutex<Vec<Letter>>) -> std::io::Result<()> {
    use base64::Engine as _;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut say = |line: &str| stream.write_all(format!("{line}\r\n").as_bytes());
    let mut letter = Letter::default();
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
                letter.credentials = Some(String::from_utf8_lossy(&decoded).into_owned());
                say("235 welcome")?;
            }
            "MAIL" => {
                letter.from = address();
                say("250 ok")?;
            }
            "RCPT" if manners.refuses_receivers => say("550 5.1.1 nobody of that name here")?,
            "RCPT" => {
                letter.to.push(address());
                say("250 ok")?;
            }
            "DATA" => {
                say("354 go on")?;
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line)? == 0 || line == ".\r\n" {
                        break;
                    }
                    letter.text.push_str(line.strip_prefix('.').unwrap_or(&line).trim_end_matches(['\r', '\n']));
                    letter.text.push('\n');
                }
                kept.lock().unwrap().push(std::mem::take(&mut letter));
                say("250 kept")?;
            }
            "QUIT" => return say("221 bye"),
            _ => say("250 ok")?,
        }
    }
}
