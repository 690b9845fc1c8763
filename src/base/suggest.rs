//! Suggestions for misspelled names.

/// Returns the known name that is nearest to `name`, if it is near enough to be a typing error: at most a third of the
/// letters differ, or `name` is its beginning.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| {
            let allowed = (candidate.chars().count().max(name.chars().count()) / 3).max(1);
            *distance <= allowed || (name.len() >= 3 && candidate.starts_with(name))
        })
        .min_by_key(|(distance, candidate)| (*distance, candidate.len()))
        .map(|(_, candidate)| candidate)
}

/// Returns ``did you mean `x`?`` for the nearest known name, if there is one.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, known).map(|candidate| format!("did you mean `{candidate}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_typing_errors_and_ignores_other_names() {
        let known = ["environment", "image", "ports", "docker_run"];
        assert_eq!(nearest("enviroment", known), Some("environment"));
        assert_eq!(nearest("imge", known), Some("image"));
        assert_eq!(nearest("dokcer_run", known), Some("docker_run"));
        assert_eq!(nearest("env", known), Some("environment"));
        assert_eq!(nearest("zebra", known), None);
    }
}
