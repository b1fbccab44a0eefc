//! What is wrong with the values of one table of the configuration: all of it, not only the first.

/// The errors of all `checks`, each on a line of its own.
pub fn all(checks: impl IntoIterator<Item = Result<(), String>>) -> Result<(), String> {
    let problems: Vec<String> = checks.into_iter().filter_map(Result::err).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

/// That `is_good`; else `problem`, which begins with the key.
pub fn unless(is_good: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    if is_good { Ok(()) } else { Err(problem()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_told_on_a_line_of_its_own() {
        assert_eq!(all([Ok(()), unless(true, String::new)]), Ok(()));
        let second = unless(false, || "b: bad".to_owned());
        assert_eq!(all([Err("a: bad".to_owned()), Ok(()), second]), Err("a: bad\nb: bad".to_owned()));
    }
}
