//! The ownership tags of a stack's resources.

use landfall_provider::{ResourceName, StackName};

/// The tag that holds the stack's name.
pub const OWNER_STACK: &str = "landfall:stack";
/// The tag that holds the resource's name in its stack.
pub const OWNER_NAME: &str = "landfall:name";
/// The tag that AWS's consoles display.
const SHOWN_NAME: &str = "Name";

/// The owner of a resource: its stack, and its name there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The stack.
    pub stack: StackName,
    /// The resource's name in it; unique per kind.
    pub name: ResourceName,
}

impl Owner {
    /// The owner of a resource under this key of a stack.
    #[must_use]
    pub fn new(stack: &StackName, name: &ResourceName) -> Self {
        Self {
            stack: stack.clone(),
            name: name.clone(),
        }
    }

    /// The tags of an owned resource: two for the owner, and the name for consoles.
    #[must_use]
    pub fn tags(&self) -> [(&'static str, String); 3] {
        [
            (OWNER_STACK, self.stack.to_string()),
            (OWNER_NAME, self.name.to_string()),
            (SHOWN_NAME, format!("{}-{}", self.stack, self.name)),
        ]
    }

    /// Reads the owner from tags; `None` for a resource without a stack, or with tags that are not
    /// valid Landfall names.
    #[must_use]
    pub fn of<'a>(tags: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        let (mut stack, mut name) = (None, None);
        for (key, value) in tags {
            match key {
                OWNER_STACK => stack = value.parse().ok(),
                OWNER_NAME => name = value.parse().ok(),
                _ => {}
            }
        }
        Some(Self {
            stack: stack?,
            name: name?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_reads_back_from_its_tags_among_others() {
        let owner = Owner::new(&"digipay".parse().unwrap(), &"nat-a".parse().unwrap());
        let tags = owner.tags();
        let tags = tags.iter().map(|(key, value)| (*key, value.as_str()));
        assert_eq!(Owner::of(tags.chain([("team", "web")])), Some(owner));
    }

    #[test]
    fn what_no_stack_owns_has_no_owner() {
        assert_eq!(Owner::of([(OWNER_STACK, "digipay")]), None);
        assert_eq!(
            Owner::of([(OWNER_STACK, "digipay"), (OWNER_NAME, "Not A Name")]),
            None
        );
    }
}
