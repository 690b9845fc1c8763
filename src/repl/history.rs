//! Decides which inputs are stored in the history: none that contains a secret.

use super::tokens::{Kind, tokens};
use crate::base::vault::Vault;

/// Parts of names whose values are treated as secret.
const SECRET_NAMES: &[&str] =
    &["password", "passwd", "secret_key", "session_token", "token", "api_key", "apikey", "credential"];

/// Whether an input may be stored in the history. It may not if it contains the value of a secret, assigns text to a
/// secret name, contains credentials in a URL, or starts with a space.
pub fn may_store(input: &str, vault: &Vault) -> bool {
    !input.starts_with(' ') && vault.scrub(input) == input && !assigns_a_secret(input) && !has_credentials(input)
}

/// Finds `password: "..."`, `"API_TOKEN": "..."`, `let password = "..."`.
fn assigns_a_secret(input: &str) -> bool {
    let all = tokens(input);
    all.windows(3).any(|window| {
        let [name, sign, value] = window else { return false };
        let name = name.of(input).trim_matches(['"', '`']).to_lowercase();
        matches!(sign.of(input), ":" | "=")
            && matches!(value.kind, Kind::Text { .. })
            && SECRET_NAMES.iter().any(|part| name.contains(part))
    })
}

/// Finds `https://user:password@host`.
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
    fn inputs_with_secrets_are_not_stored() {
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
            assert!(!may_store(input, &vault), "{input}");
        }
        for input in ["docker_pull(\"web\", #{password: secret(\"TOKEN\")})", "http_get(\"http://localhost:80/a@b\")"] {
            assert!(may_store(input, &vault), "{input}");
        }
    }
}
