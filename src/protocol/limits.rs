//! What a line may cost: the limits that keep a hostile sender from buying more than its bytes are worth.

use crate::problem::{self, unless};

/// The part of `[limits]` in the configuration that the protocol keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of a line without its LF and CR. A datagram holds no more than the default.
    pub max_line_bytes: usize,
    /// Tags of a line: those of a list that are not empty, or the members of an object.
    pub max_tags: usize,
    /// Levels of JSON, of which the outermost `{` or `[` is the first; at most [`Limits::MAX_JSON_DEPTH`] is used.
    pub max_json_depth: usize,
}

impl Limits {
    /// As deep as JSON is followed whatever the configuration says, a report in JSON around it not counted: what open
    /// brackets are remembered in is this large.
    pub const MAX_JSON_DEPTH: usize = 256;
    /// The longest that `max_line_bytes` can be: a line is held in memory whole, and so is a chunk that it is in.
    pub const LONGEST_LINE: usize = 1 << 20;

    /// For what was accepted before, under whatever limits.
    pub const NONE: Limits =
        Limits { max_line_bytes: usize::MAX, max_tags: usize::MAX, max_json_depth: usize::MAX };

    /// Whether the values make sense. The error names the key.
    pub fn check(&self) -> Result<(), String> {
        let Limits { max_line_bytes, max_tags, max_json_depth } = *self;
        problem::all([
            unless((1..=Self::LONGEST_LINE).contains(&max_line_bytes), || {
                format!("max_line_bytes = {max_line_bytes}: must be from 1 to {}", Self::LONGEST_LINE)
            }),
            unless(max_tags > 0, || {
                "max_tags = 0: must be more, or every line with a tag is refused".to_owned()
            }),
            unless((1..=Self::MAX_JSON_DEPTH).contains(&max_json_depth), || {
                format!("max_json_depth = {max_json_depth}: must be from 1 to {}", Self::MAX_JSON_DEPTH)
            }),
        ])
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_line_bytes: 65_536, max_tags: 256, max_json_depth: 64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_that_makes_no_sense_is_named() {
        assert_eq!(Limits::default().check(), Ok(()));
        let error = Limits { max_line_bytes: 0, max_tags: 0, max_json_depth: 257 }.check().unwrap_err();
        let keys: Vec<_> = error.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(keys, ["max_line_bytes", "max_tags", "max_json_depth"], "{error}");
    }
}
