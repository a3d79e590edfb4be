//! Bodies for people: JSON with indents, and no more than one wants to read.

use serde_json::Value;

/// A body with at most `most` bytes; whether there is more of it.
pub(crate) fn shown(mut body: String, most: usize) -> (String, bool) {
    // Indents can make a body more than a hundred times as long. One that is too long as it is, is not indented.
    if body.len() <= most
        && let Ok(value) = serde_json::from_str::<Value>(&body)
    {
        body = format!("{value:#}");
    }
    let cut = body.len() > most;
    if cut {
        body.truncate(body.floor_char_boundary(most));
        body.shrink_to_fit();
    }
    (body, cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_indented_and_cut_between_characters() {
        let told = |body: &str, most| shown(body.to_owned(), most);
        assert_eq!(told("{\"a\":1}", 99), ("{\n  \"a\": 1\n}".to_owned(), false));
        assert_eq!(told("aé", 3), ("aé".to_owned(), false));
        assert_eq!(told("aé", 2), ("a".to_owned(), true));
        assert_eq!(told("[1,1]", 4), ("[1,1".to_owned(), true));
    }
}
