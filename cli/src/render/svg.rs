//! Pictures: shapes and lines of text as SVG, readable on light and dark backgrounds.

use std::fmt::Write as _;

/// The approximate width of a monospace character at 13 pixels; the layout of names depends on it.
pub(crate) const CHARACTER: usize = 8;

/// The height of a line.
pub(crate) const LINE: usize = 18;

const STYLE: &str = "\
.ink { fill: #16242f } .soft { fill: #5b6b78 } .good { fill: #2b7a4b } .bad { fill: #c92a2a } .part { fill: #b35c00 }
.paper { fill: #ffffff; stroke: #c3ced6 } .box { fill: #f4f7f9; stroke: #8fa1ae }
.open { fill: #e3f6f1; stroke: #2b9a7d } .some { fill: #fff4e0; stroke: #d99a2b }
.shut { fill: #fdecec; stroke: #c92a2a } .none { fill: none; stroke: #dde4e9 }
.way { stroke: #8fa1ae; stroke-width: 1.5 }
text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace } .name { font-weight: 600 }
@media (prefers-color-scheme: dark) {
.ink { fill: #e6edf2 } .soft { fill: #9aabb8 } .good { fill: #51cf8a } .bad { fill: #ff8787 } .part { fill: #ffc078 }
.paper { fill: #0f171d; stroke: #2a3843 } .box { fill: #1d2a34; stroke: #51626f }
.open { fill: #12322b; stroke: #2b9a7d } .some { fill: #38290f; stroke: #b8862f }
.shut { fill: #3b1618; stroke: #e03131 } .none { stroke: #24313b }
}";

/// A picture under construction.
pub(crate) struct Svg {
    body: String,
}

impl Svg {
    /// An empty picture.
    pub(crate) fn new() -> Self {
        Self {
            body: String::new(),
        }
    }

    /// A rectangle with round corners, its upper left corner at `x` and `y`.
    pub(crate) fn rect(
        &mut self,
        class: &str,
        (x, y): (usize, usize),
        (width, height): (usize, usize),
    ) {
        let _ = writeln!(
            self.body,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>"
        );
    }

    /// A line of text that begins at `x`, on the base line `y`.
    pub(crate) fn text(&mut self, class: &str, at: (usize, usize), text: &str) {
        self.anchored(class, at, "start", text);
    }

    /// A line of text with its middle at `x`, on the base line `y`.
    pub(crate) fn centred(&mut self, class: &str, at: (usize, usize), text: &str) {
        self.anchored(class, at, "middle", text);
    }

    fn anchored(&mut self, class: &str, (x, y): (usize, usize), anchor: &str, text: &str) {
        let _ = writeln!(
            self.body,
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" xml:space=\"preserve\">{}</text>",
            escape(text)
        );
    }

    /// A vertical line.
    pub(crate) fn down(&mut self, x: usize, from: usize, to: usize) {
        let _ = writeln!(
            self.body,
            "<line class=\"way\" x1=\"{x}\" y1=\"{from}\" x2=\"{x}\" y2=\"{to}\"/>"
        );
    }

    /// The complete document, on a background. The title is the picture's text for screen readers.
    pub(crate) fn finish(self, title: &str, (width, height): (usize, usize)) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
             aria-labelledby=\"title\">\n<title id=\"title\">{}</title>\n<style>\n{STYLE}\n</style>\n\
             <rect class=\"paper\" x=\"1\" y=\"1\" width=\"{}\" height=\"{}\" rx=\"12\"/>\n{}</svg>\n",
            escape(title),
            width - 2,
            height - 2,
            self.body
        )
    }
}

/// Text escaped for XML; control characters, which XML does not allow, are removed.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// Text in lines of at most `longest` characters, wrapped between words.
pub(crate) fn wrap(text: &str, longest: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= longest => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_xml_is_escaped() {
        assert_eq!(
            escape("a<b>&\"c\"\u{1b}\u{7}"),
            "a&lt;b&gt;&amp;&quot;c&quot;"
        );
    }

    #[test]
    fn lines_are_broken_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("unbreakable", 3), ["unbreakable"]);
    }
}
