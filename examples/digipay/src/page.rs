//! The page: the identity of the answering instance, and a button that shows how requests are
//! spread over the instances.

use crate::identity::Identity;

/// The page for a browser.
pub(crate) fn render(identity: &Identity) -> String {
    include_str!("page.html")
        .replace("{{instance}}", &escaped(&identity.instance))
        .replace("{{zone}}", &escaped(&identity.zone))
}

/// A text escaped for the inside of an HTML element.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_escapes_instance_and_zone() {
        let page = render(&Identity {
            instance: "i-<b>7".into(),
            zone: "ap-south-1a".into(),
        });
        assert!(page.contains("i-&lt;b&gt;7"));
        assert!(page.contains("ap-south-1a"));
        assert!(!page.contains("{{"));
    }
}
