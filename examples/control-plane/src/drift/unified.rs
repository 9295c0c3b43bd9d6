/// Lines around a change that are shown.
const AROUND: usize = 3;

/// Beyond so many pairs of lines, what differs in the middle is shown as replaced.
const MAX_PAIRS: usize = 4_000_000;

/// What differs between two texts, as `diff -u` shows it; empty when nothing does.
#[must_use]
pub fn unified(old_name: &str, old: &str, new_name: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let script = script(&old, &new);
    let is_change = |(mark, _): &(char, &str)| *mark != ' ';
    if !script.iter().any(is_change) {
        return String::new();
    }
    let mut text = format!("--- {old_name}\n+++ {new_name}\n");
    let (mut at, mut old_line, mut new_line) = (0, 1, 1);
    while at < script.len() {
        let Some(first) = script[at..].iter().position(is_change).map(|offset| at + offset) else { break };
        let start = first.saturating_sub(AROUND).max(at);
        let mut end = first;
        let mut last = first;
        while end < script.len() && end <= last + 2 * AROUND {
            if is_change(&script[end]) {
                last = end;
            }
            end += 1;
        }
        let end = (last + AROUND + 1).min(script.len());
        old_line += start - at;
        new_line += start - at;
        let hunk = &script[start..end];
        let count = |without: char| hunk.iter().filter(|(mark, _)| *mark != without).count();
        let (olds, news) = (count('+'), count('-'));
        let from = |line: usize, count: usize| if count == 0 { line - 1 } else { line };
        text += &format!("@@ -{},{olds} +{},{news} @@\n", from(old_line, olds), from(new_line, news));
        for (mark, line) in hunk {
            text.push(*mark);
            text.push_str(line);
            text.push('\n');
        }
        old_line += olds;
        new_line += news;
        at = end;
    }
    text
}

/// Lines that stay, go and come, by a longest common subsequence.
fn script<'t>(old: &[&'t str], new: &[&'t str]) -> Vec<(char, &'t str)> {
    let start = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let rest = old.len().min(new.len()) - start;
    let end = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let (before, after) = (&old[..start], &old[old.len() - end..]);
    let (old, new) = (&old[start..old.len() - end], &new[start..new.len() - end]);
    let mut script: Vec<(char, &str)> = before.iter().map(|line| (' ', *line)).collect();
    let mut common = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    if old.len().saturating_mul(new.len()) <= MAX_PAIRS {
        for i in (0..old.len()).rev() {
            for j in (0..new.len()).rev() {
                common[i][j] = match old[i] == new[j] {
                    true => common[i + 1][j + 1] + 1,
                    false => common[i + 1][j].max(common[i][j + 1]),
                };
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] && common[i][j] == common[i + 1][j + 1] + 1 {
            script.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < old.len() && (j == new.len() || common[i + 1][j] >= common[i][j + 1]) {
            script.push(('-', old[i]));
            i += 1;
        } else {
            script.push(('+', new[j]));
            j += 1;
        }
    }
    script.extend(after.iter().map(|line| (' ', *line)));
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_diff_shows_it() {
        assert_eq!(unified("a", "1\n2\n", "b", "1\n2\n"), "");
        assert_eq!(unified("a", "1\n2\n3\n", "b", "1\nx\n3\n"), "--- a\n+++ b\n@@ -1,3 +1,3 @@\n 1\n-2\n+x\n 3\n");
        assert_eq!(unified("a", "", "b", "x\n"), "--- a\n+++ b\n@@ -0,0 +1,1 @@\n+x\n");
        let old: String = (1..=20).map(|line| format!("{line}\n")).collect();
        let new = old.replace("2\n3\n", "3\n").replace("\n19\n", "\n19\nx\n");
        assert_eq!(
            unified("a", &old, "b", &new),
            "--- a\n+++ b\n@@ -1,5 +1,4 @@\n 1\n-2\n 3\n 4\n 5\n@@ -17,4 +16,5 @@\n 17\n 18\n 19\n+x\n 20\n"
        );
    }
}
