//! Texts without the numbers that differ between any two runs.

/// A number with this many digits is taken for a time.
const DIGITS_OF_A_TIME: usize = 6;

/// Replaces the numbers that may be times by `#`, such as those in the name of a snapshot.
pub fn without_times(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut digits = String::new();
    let end_number = |digits: &mut String, result: &mut String| {
        if digits.len() < DIGITS_OF_A_TIME {
            result.push_str(digits);
        } else {
            result.push('#');
        }
        digits.clear();
    };
    for letter in text.chars() {
        if letter.is_ascii_digit() {
            digits.push(letter);
        } else {
            end_number(&mut digits, &mut result);
            result.push(letter);
        }
    }
    end_number(&mut digits, &mut result);
    result
}

#[cfg(test)]
mod tests {
    use super::without_times;

    #[test]
    fn only_times_are_masked() {
        assert_eq!(without_times("web-20261201-101112 on 8080"), "web-#-# on 8080");
        assert_eq!(without_times("data.before-1767225612530"), "data.before-#");
        assert_eq!(without_times(""), "");
    }
}
