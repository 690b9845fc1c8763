//! TLS certificates from files, by host name, read again when they change. A pair that cannot be read leaves the previous
//! one in use.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

/// The name of the pair for all other hosts.
const DEFAULT: &str = "default";
const PAIRS_MAX: usize = 1_000;

/// The folder with `HOST.crt` and `HOST.key`, and the addresses that speak TLS.
#[derive(Debug)]
pub struct Tls {
    folder: PathBuf,
    addresses: Vec<SocketAddr>,
    keys: Arc<Keys>,
    provider: Arc<CryptoProvider>,
    config: Arc<ServerConfig>,
}

#[derive(Debug, Default)]
struct Keys {
    by_host: RwLock<HashMap<String, (SystemTime, Arc<CertifiedKey>)>>,
}

impl ResolvesServerCert for Keys {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let keys = self.by_host.read().unwrap_or_else(PoisonError::into_inner);
        let named = hello.server_name().and_then(|name| keys.get(&name.to_ascii_lowercase()));
        named.or_else(|| keys.get(DEFAULT)).map(|(_, key)| Arc::clone(key))
    }
}

impl Tls {
    /// Reads the certificates of a folder.
    ///
    /// # Errors
    /// When a pair cannot be read, or there is none.
    pub fn open(folder: PathBuf, addresses: Vec<SocketAddr>) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let keys = Arc::new(Keys::default());
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&keys) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let tls = Self { folder, addresses, keys, provider, config: Arc::new(config) };
        let (count, errors) = tls.reload();
        if !errors.is_empty() {
            return Err(errors.join("; "));
        }
        if count == 0 {
            let folder = tls.folder.display();
            return Err(format!(
                "`{folder}` contains no certificates: add `HOST.crt` and `HOST.key`, or `default.crt` and `default.key`"
            ));
        }
        Ok(tls)
    }

    pub fn serves(&self, address: SocketAddr) -> bool {
        self.addresses.contains(&address)
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    /// Reads the pairs that have changed. Returns the number of pairs and the errors.
    pub fn reload(&self) -> (usize, Vec<String>) {
        let mut errors = Vec::new();
        let before = self.keys.by_host.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut now = HashMap::new();
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) => return (before.len(), vec![format!("`{}`: {error}", self.folder.display())]),
        };
        for path in entries.flatten().map(|entry| entry.path()).take(2 * PAIRS_MAX) {
            let Some(host) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
            if path.extension().is_none_or(|extension| extension != "crt") {
                continue;
            }
            let host = host.to_ascii_lowercase();
            let old = before.get(&host);
            let changed = changed_at(&path);
            if let Some(old) = old.filter(|(read_at, _)| *read_at == changed) {
                now.insert(host, old.clone());
                continue;
            }
            match self.pair(&path) {
                Ok(key) => {
                    now.insert(host, (changed, Arc::new(key)));
                }
                Err(error) => {
                    errors.push(format!("`{}`: {error}", path.display()));
                    if let Some(old) = old {
                        now.insert(host, old.clone());
                    }
                }
            }
        }
        // An empty folder is probably being rewritten, so the previous pairs stay.
        let kept = if now.is_empty() { before } else { now };
        let count = kept.len();
        *self.keys.by_host.write().unwrap_or_else(PoisonError::into_inner) = kept;
        (count, errors)
    }

    fn pair(&self, certificate: &Path) -> Result<CertifiedKey, String> {
        let text = |error: rustls::pki_types::pem::Error| error.to_string();
        let chain: Vec<_> =
            CertificateDer::pem_file_iter(certificate).map_err(text)?.collect::<Result<_, _>>().map_err(text)?;
        if chain.is_empty() {
            return Err("the file contains no certificate".to_owned());
        }
        let key = PrivateKeyDer::from_pem_file(certificate.with_extension("key"))
            .map_err(|error| format!("the key cannot be read: {error}"))?;
        // Fails when the key does not belong to the certificate.
        CertifiedKey::from_der(chain, key, &self.provider).map_err(|error| error.to_string())
    }
}

/// Returns the time of the last change of a pair.
fn changed_at(certificate: &Path) -> SystemTime {
    let at = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    at(certificate).max(at(&certificate.with_extension("key")))
}
