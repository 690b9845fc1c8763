//! Which inputs may be kept for the next session: none that holds a secret. Knows no file.

use super::tokens::{Kind, tokens};
use crate::base::vault::Vault;

/// What the name of a value has in it that nobody else should read.
const SECRETIVE: &[&str] =
    &["password", "passwd", "secret_key", "session_token", "token", "api_key", "apikey", "credential"];

/// Whether an input may be written to the history: it holds no value of a secret, names no password beside a text,
/// carries no credentials in a URL, and does not begin with a space.
pub fn may_keep(input: &str, vault: &Vault) -> bool {
    !input.starts_with(' ') && vault.scrub(input) == input && !gives_a_password(input) && !has_credentials(input)
}

/// `password: "..."`, `"API_TOKEN": "..."`, `let password = "..."`.
fn gives_a_password(input: &str) -> bool {
    let all = tokens(input);
    all.windows(3).any(|three| {
        let [name, sign, value] = three else { return false };
        let name = name.of(input).trim_matches(['"', '`']).to_lowercase();
        matches!(sign.of(input), ":" | "=")
            && matches!(value.kind, Kind::Text { .. })
            && SECRETIVE.iter().any(|word| name.contains(word))
    })
}

/// `https://user:password@host`.
fn has_credentials(input: &str) -> bool {
    input.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '"', '`', ' ', '?']).next().unwrap_or_default();
        authority.split_once('@').is_some_and(|(user, _)| user.contains(':'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_with_secrets_are_not_kept() {
        let vault = Vault::new(|name| (name == "TOKEN").then(|| "hunter2hunter2".into()));
        vault.expose("TOKEN").unwrap();
        for input in [
            "exec([\"login\", \"hunter2hunter2\"])",
            "docker_pull(\"web\", #{username: \"me\", password: \"abc\"})",
            "docker_run(#{environment: #{\"API_TOKEN\": \"abc\"}})",
            "let db_password = \"abc\"",
            "http_get(\"https://me:abc@example.com/\")",
            " docker_list()",
        ] {
            assert!(!may_keep(input, &vault), "{input}");
        }
        for input in ["docker_pull(\"web\", #{password: secret(\"TOKEN\")})", "http_get(\"http://localhost:80/a@b\")"] {
            assert!(may_keep(input, &vault), "{input}");
        }
    }
}
