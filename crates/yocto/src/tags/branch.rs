//! A branch's name as a tag.

use wharf_oci::Tag;

/// The longest tag (distribution-spec, "Pulling manifests").
const TAG_MAX: usize = 128;

/// The branch as a tag: whatever a tag may not hold becomes `-`, and so do `/` and `_`; what a tag may not begin with is left out, and so
/// is what follows 128 characters. `None` when nothing is left.
pub(super) fn as_tag(branch: &str) -> Option<Tag> {
    let dashed = branch.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' });
    let text: String = dashed.skip_while(|c| matches!(c, '-' | '.')).take(TAG_MAX).collect();
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(branch: &str) -> Option<String> {
        as_tag(branch).map(|tag| tag.as_str().to_owned())
    }

    #[test]
    fn what_a_tag_may_not_hold_becomes_a_dash() {
        for (branch, tag) in [
            ("main", "main"),
            ("feature/log_in", "feature-log-in"),
            ("release/1.2.x", "release-1.2.x"),
            ("Fix#12 (später)", "Fix-12--sp-ter-"),
            ("_private", "private"),
            ("-/.x", "x"),
        ] {
            assert_eq!(text(branch).as_deref(), Some(tag), "{branch}");
        }
        assert_eq!(text("___"), None);
        assert_eq!(text(""), None);
        assert_eq!(text(&format!("_{}", "a".repeat(200))), Some("a".repeat(128)));
    }

    proptest! {
        #[test]
        fn a_tag_comes_of_any_branch_with_a_letter(before in ".{0,20}", letter in "[a-z0-9]", after in ".{0,200}") {
            let tag = text(&format!("{before}{letter}{after}"));
            prop_assert!(tag.is_some_and(|tag| !tag.contains(['_', '/'])));
        }
    }
}
