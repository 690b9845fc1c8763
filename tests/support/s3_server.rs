//! An S3 server in this process, on loopback. It keeps objects in memory, supports multipart uploads and lists, verifies
//! signatures and payload checksums as Amazon does, and injects faults. It needs no runtime and no package.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

pub use super::signature::{ACCESS_KEY, REGION, SECRET_KEY};
use super::signature::{SignedRequest, hex, verify};

pub const BUCKET: &str = "backups";

#[derive(Clone)]
struct StoredObject {
    bytes: Vec<u8>,
    meta: BTreeMap<String, String>,
    modified: SystemTime,
}

/// How the next request of a method fails.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Responds with status 500.
    Error,
    /// Closes the connection without a response. For `GET`, closes it in the middle of the body.
    Cut,
}

#[derive(Default)]
struct State {
    objects: Mutex<BTreeMap<String, StoredObject>>,
    uploads: Mutex<BTreeMap<String, BTreeMap<u32, Vec<u8>>>>,
    upload_meta: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
    faults: Mutex<Vec<(&'static str, Fault)>>,
    /// The methods and paths of all requests.
    requests: Mutex<Vec<String>>,
    full: AtomicBool,
    stopped: AtomicBool,
    next: AtomicUsize,
}

pub struct S3Server {
    pub address: SocketAddr,
    state: Arc<State>,
}

struct S3Request {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    raw_query: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

struct S3Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    length: Option<usize>,
    cut: bool,
}

impl S3Reply {
    fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), length: None, cut: false }
    }

    fn error(status: u16, code: &str) -> Self {
        Self::new(status, format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{code}</Message></Error>"))
    }
}

impl S3Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let state = Arc::clone(&shared);
                if let Ok(stream) = stream {
                    std::thread::spawn(move || serve(stream, &state));
                }
            }
        });
        Self { address, state }
    }

    /// Returns the `s3` option for requests, with valid keys in plain text.
    pub fn access(&self) -> serde_json::Value {
        serde_json::json!({
            "endpoint": format!("http://{}", self.address), "region": REGION,
            "access_key": ACCESS_KEY, "secret_key": SECRET_KEY,
        })
    }

    /// Makes the next requests of this method fail, one for each fault.
    pub fn fail(&self, method: &'static str, faults: impl IntoIterator<Item = Fault>) {
        self.state.faults.lock().unwrap().extend(faults.into_iter().map(|fault| (method, fault)));
    }

    /// Rejects all further uploads with "insufficient storage".
    pub fn fill_up(&self) {
        self.state.full.store(true, Ordering::SeqCst);
    }

    pub fn keys(&self) -> Vec<String> {
        self.state.objects.lock().unwrap().keys().cloned().collect()
    }

    pub fn object(&self, key: &str) -> Option<Vec<u8>> {
        self.state.objects.lock().unwrap().get(key).map(|object| object.bytes.clone())
    }

    /// Flips a bit of a stored object.
    pub fn damage(&self, key: &str) {
        self.state.objects.lock().unwrap().get_mut(key).unwrap().bytes[0] ^= 1;
    }

    /// Counts the multipart uploads that were neither completed nor aborted.
    pub fn open_uploads(&self) -> usize {
        self.state.uploads.lock().unwrap().len()
    }

    /// Counts the requests so far whose method and path start with `prefix`.
    pub fn asked(&self, prefix: &str) -> usize {
        self.state.requests.lock().unwrap().iter().filter(|line| line.starts_with(prefix)).count()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, state: &State) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some(request) = read(&mut reader, &mut stream) {
        state.requests.lock().unwrap().push(format!("{} {}?{}", request.method, request.path, request.raw_query));
        let fault = {
            let mut faults = state.faults.lock().unwrap();
            let at = faults.iter().position(|(method, _)| *method == request.method);
            at.map(|at| faults.remove(at).1)
        };
        let reply = match fault {
            Some(Fault::Error) => S3Reply::error(500, "InternalError"),
            Some(Fault::Cut) if request.method != "GET" => return,
            other => {
                let mut reply = respond(state, &request);
                reply.cut = other == Some(Fault::Cut);
                reply
            }
        };
        if !write(&mut stream, &request, &reply) {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>, stream: &mut TcpStream) -> Option<S3Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    if headers.get("expect").is_some_and(|value| value == "100-continue") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, raw_query) = target.split_once('?').unwrap_or((&target, ""));
    let query = raw_query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key), decoded(value))
    });
    Some(S3Request { method, path: path.into(), query: query.collect(), raw_query: raw_query.into(), headers, body })
}

fn write(stream: &mut TcpStream, request: &S3Request, reply: &S3Reply) -> bool {
    let mut head =
        format!("HTTP/1.1 {} X\r\nContent-Length: {}\r\n", reply.status, reply.length.unwrap_or(reply.body.len()));
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let end = if reply.cut { reply.body.len() / 2 } else { reply.body.len() };
    let body = if request.method == "HEAD" { &[][..] } else { &reply.body[..end] };
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).is_ok() && !reply.cut
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digits = (byte == b'%').then(|| [rest.next(), rest.next()]);
        match digits {
            Some([Some(high), Some(low)]) => {
                let digits = [high, low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn respond(state: &State, request: &S3Request) -> S3Reply {
    let S3Request { method, path, raw_query: query, headers, body, .. } = request;
    if let Err(code) = verify(&SignedRequest { method, path, query, headers, body }, "s3") {
        return S3Reply::error(if code == "XAmzContentSHA256Mismatch" { 400 } else { 403 }, code);
    }
    let path = decoded(&request.path);
    let Some(key) = path.strip_prefix(&format!("/{BUCKET}")) else { return S3Reply::error(404, "NoSuchBucket") };
    let key = key.trim_start_matches('/').to_owned();
    let upload = request.query.get("uploadId").cloned();
    if matches!(request.method.as_str(), "PUT" | "POST") && state.full.load(Ordering::SeqCst) {
        return S3Reply::error(507, "InsufficientStorage");
    }
    let meta = || -> BTreeMap<String, String> {
        request
            .headers
            .iter()
            .filter(|(name, _)| name.starts_with("x-amz-meta-"))
            .map(|(a, b)| (a.clone(), b.clone()))
            .collect()
    };
    let etag = |reply: S3Reply, bytes: &[u8]| {
        let mut reply = reply;
        reply.headers.push(("ETag".into(), format!("\"{}\"", &hex(&Sha256::digest(bytes))[..32])));
        reply
    };
    let mut objects = state.objects.lock().unwrap();
    let mut uploads = state.uploads.lock().unwrap();
    match (request.method.as_str(), upload) {
        ("POST", None) if request.query.contains_key("uploads") => {
            let id = format!("upload-{}", state.next.fetch_add(1, Ordering::SeqCst));
            uploads.insert(id.clone(), BTreeMap::new());
            state.upload_meta.lock().unwrap().insert(id.clone(), meta());
            S3Reply::new(
                200,
                format!(
                    "<InitiateMultipartUploadResult><Bucket>{BUCKET}</Bucket><Key>{key}</Key><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                ),
            )
        }
        ("PUT", Some(id)) => {
            let Some(parts) = uploads.get_mut(&id) else { return S3Reply::error(404, "NoSuchUpload") };
            parts.insert(request.query["partNumber"].parse().unwrap(), request.body.clone());
            etag(S3Reply::new(200, ""), &request.body)
        }
        ("POST", Some(id)) => {
            let Some(parts) = uploads.remove(&id) else { return S3Reply::error(404, "NoSuchUpload") };
            let meta = state.upload_meta.lock().unwrap().remove(&id).unwrap_or_default();
            let bytes = parts.into_values().collect::<Vec<_>>().concat();
            objects.insert(key, StoredObject { bytes, meta, modified: SystemTime::now() });
            S3Reply::new(200, "<CompleteMultipartUploadResult><ETag>\"parts\"</ETag></CompleteMultipartUploadResult>")
        }
        ("DELETE", Some(id)) => {
            uploads.remove(&id);
            S3Reply::new(204, "")
        }
        ("PUT", None) => {
            objects
                .insert(key, StoredObject { bytes: request.body.clone(), meta: meta(), modified: SystemTime::now() });
            etag(S3Reply::new(200, ""), &request.body)
        }
        ("DELETE", None) => {
            objects.remove(&key);
            S3Reply::new(204, "")
        }
        ("GET", None) if key.is_empty() => list(&objects, request),
        ("GET" | "HEAD", None) => {
            let Some(object) = objects.get(&key) else { return S3Reply::error(404, "NoSuchKey") };
            let start = request
                .headers
                .get("range")
                .and_then(|range| range.strip_prefix("bytes=")?.split('-').next()?.parse().ok());
            let bytes = object.bytes[start.unwrap_or(0)..].to_vec();
            let mut reply = S3Reply::new(if start.is_some() { 206 } else { 200 }, bytes);
            if let Some(start) = start {
                let (end, size) = (object.bytes.len() - 1, object.bytes.len());
                reply.headers.push(("Content-Range".into(), format!("bytes {start}-{end}/{size}")));
            }
            let modified = jiff::Timestamp::try_from(object.modified).unwrap();
            reply.headers.push(("Last-Modified".into(), modified.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()));
            reply.headers.extend(object.meta.clone());
            etag(reply, &object.bytes)
        }
        _ => S3Reply::error(405, "MethodNotAllowed"),
    }
}

fn list(objects: &BTreeMap<String, StoredObject>, request: &S3Request) -> S3Reply {
    let prefix = request.query.get("prefix").cloned().unwrap_or_default();
    let contents: String = objects
        .iter()
        .filter(|(key, _)| key.starts_with(&prefix))
        .map(|(key, object)| {
            let modified = jiff::Timestamp::try_from(object.modified).unwrap();
            format!(
                "<Contents><Key>{key}</Key><LastModified>{modified:.3}</LastModified><ETag>\"x\"</ETag><Size>{}</Size></Contents>",
                object.bytes.len()
            )
        })
        .collect();
    S3Reply::new(
        200,
        format!("<ListBucketResult><Name>{BUCKET}</Name><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"),
    )
}
