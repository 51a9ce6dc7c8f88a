//! How deep JSON goes, told while it comes. Whether it is JSON at all is for others to say.

/// Inside of how many arrays and objects a text is, as far as it was read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Nesting {
    depth: usize,
    is_text: bool,
    is_escaped: bool,
}

impl Nesting {
    /// Reads one byte more. Gives the depth behind it.
    pub(crate) fn push(&mut self, byte: u8) -> usize {
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' if self.is_text => self.is_escaped = true,
            b'"' => self.is_text = !self.is_text,
            _ if self.is_text => {}
            b'[' | b'{' => self.depth = self.depth.saturating_add(1),
            b']' | b'}' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.depth
    }
}
