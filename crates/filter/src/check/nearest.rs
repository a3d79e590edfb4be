//! Suggestions for misspelt words.

/// The candidate that differs from `word` in the fewest letters, if there are at most two. Upper and lower case are the same.
pub(super) fn nearest(word: &str, candidates: &[String]) -> Option<String> {
    if word.len() > 40 {
        return None;
    }
    let allowed = if word.len() < 4 { 1 } else { 2 };
    let word = word.to_lowercase();
    candidates
        .iter()
        .map(|candidate| (strsim::levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.clone())
}
