/// What every text begins with that an expression matches as a whole: at least nothing, not always all there is.
pub(super) fn literal_prefix(expression: &str) -> String {
    let mut literal = String::new();
    // One of several alternatives need not begin as the first does.
    if expression.contains('|') {
        return literal;
    }
    let mut rest = expression.strip_prefix('^').unwrap_or(expression).chars();
    while let Some(character) = rest.next() {
        match character {
            '\\' => match rest.next() {
                Some(escaped) if escaped.is_ascii_punctuation() && escaped != '<' && escaped != '>' => {
                    literal.push(escaped);
                }
                _ => break,
            },
            // What is repeated may be there no time at all.
            '*' | '+' | '?' | '{' => {
                literal.pop();
                break;
            }
            '.' | '[' | ']' | '(' | ')' | '}' | '^' | '$' => break,
            character => literal.push(character),
        }
    }
    literal
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::literal_prefix;
    use crate::string_match::Regex;

    #[test]
    fn the_beginning_up_to_what_varies() {
        for (expression, beginning) in [
            ("/users/[0-9]+/orders", "/users/"),
            ("^/a/.*", "/a/"),
            (r"/v1\.2/x", "/v1.2/x"),
            (r"/v\d", "/v"),
            ("/ab*", "/a"),
            ("/ab+*c", "/a"),
            ("/ab{0,2}c", "/a"),
            ("/a|/b", ""),
            ("(?i)/a", ""),
            ("/a(?i)b", "/a"),
            (r"/a\b", "/a"),
            (r"/a\<b", "/a"),
            ("/ä?", "/"),
            ("", ""),
        ] {
            assert!(Regex::new(expression).is_ok(), "{expression}");
            assert_eq!(literal_prefix(expression), beginning, "{expression}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_match_begins_otherwise(
            expression in r"\^?(/|a|b|\\\.|\.|[*+?^$|()\[\]{}]|\\[bBdwAz<]|\{0,1\}|\(\?i\)|\[ab\]){1,8}",
            text in "[/abAB.]{0,6}",
        ) {
            if let Ok(regex) = Regex::new(&expression) && regex.is_match(&text) {
                prop_assert!(text.starts_with(&literal_prefix(&expression)), "{} matches {}", expression, text);
            }
        }
    }
}
