//! What a line may cost: the limits that keep a hostile sender from buying more than its bytes are worth.

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
        if !(1..=Self::LONGEST_LINE).contains(&self.max_line_bytes) {
            let (value, longest) = (self.max_line_bytes, Self::LONGEST_LINE);
            return Err(format!("max_line_bytes = {value}: must be from 1 to {longest}"));
        }
        if !(1..=Self::MAX_JSON_DEPTH).contains(&self.max_json_depth) {
            let (value, deepest) = (self.max_json_depth, Self::MAX_JSON_DEPTH);
            return Err(format!("max_json_depth = {value}: must be from 1 to {deepest}"));
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_line_bytes: 65_536, max_tags: 256, max_json_depth: 64 }
    }
}
