//! The mode of `--chmod`: octal digits, or symbols as in `chmod`.

use super::fault::Fault;

/// The argument of `--chmod`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// This mode, independent of the old one.
    Octal(u32),
    /// Changes to the file's mode.
    Symbolic(Vec<Change>),
}

/// One change, such as the `u+x` of `u+x,go-w`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// The bits that it may change.
    mask: u32,
    operator: char,
    permission: Permission,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Permission {
    /// These bits; the second ones only for directories and executable files.
    Bits(u32, u32),
    /// The bits of the user, the group or others, as the number of bits to shift them down.
    Copy(u32),
}

impl Mode {
    /// Parses a mode, or returns its fault.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let bad = || {
            Fault::problem(format!(
                "\"{text}\" is not a mode, such as 0755 or u=rwX,go=rX"
            ))
        };
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            return match u32::from_str_radix(text, 8) {
                Ok(mode) if mode <= 0o7777 => Ok(Self::Octal(mode)),
                _ => Err(bad()),
            };
        }
        let mut changes = Vec::new();
        for clause in text.split(',') {
            let operators = clause.trim_start_matches(['u', 'g', 'o', 'a']);
            let who = &clause[..clause.len() - operators.len()];
            if !operators.starts_with(['+', '-', '=']) {
                return Err(bad());
            }
            let mut rest = operators;
            while let Some(operator) = rest.chars().next() {
                rest = &rest[1..];
                let end = rest.find(['+', '-', '=']).unwrap_or(rest.len());
                changes.push(Change::parse(who, operator, &rest[..end]).ok_or_else(bad)?);
                rest = &rest[end..];
            }
        }
        Ok(Self::Symbolic(changes))
    }

    /// The new mode of a file or directory with the mode `old`.
    pub(super) fn apply(&self, old: u32, directory: bool) -> u32 {
        match self {
            Self::Octal(mode) => *mode,
            Self::Symbolic(changes) => changes
                .iter()
                .fold(old, |mode, change| change.apply(mode, old, directory)),
        }
    }

    /// The mode of a missing parent directory; symbolic modes do not set one.
    pub(super) fn of_new_directory(&self) -> Option<u32> {
        match self {
            Self::Octal(mode) => Some(*mode),
            Self::Symbolic(_) => None,
        }
    }
}

impl Change {
    fn parse(who: &str, operator: char, permissions: &str) -> Option<Self> {
        let everybody = who.is_empty() || who.contains('a');
        let mut mask = 0;
        for (name, bits) in [('u', 0o4700), ('g', 0o2070), ('o', 0o0007)] {
            if everybody || who.contains(name) {
                mask |= bits;
            }
        }
        // The user's or the group's part includes the special bits.
        let special = mask != 0o0007;
        if let Some(shift) = match permissions {
            "u" => Some(6),
            "g" => Some(3),
            "o" => Some(0),
            _ => None,
        } {
            return Some(Self {
                mask,
                operator,
                permission: Permission::Copy(shift),
            });
        }
        let (mut bits, mut conditional) = (0, 0);
        for permission in permissions.chars() {
            match permission {
                'r' => bits |= 0o444,
                'w' => bits |= 0o222,
                'x' => bits |= 0o111,
                'X' if operator == '-' => bits |= 0o111,
                'X' => conditional |= 0o111,
                's' if special => bits |= 0o6000,
                't' if special => {
                    bits |= 0o1000;
                    mask |= 0o1000;
                }
                's' | 't' => {}
                _ => return None,
            }
        }
        Some(Self {
            mask,
            operator,
            permission: Permission::Bits(bits, conditional),
        })
    }

    /// Changes `mode`; `old` is the mode before all changes.
    fn apply(&self, mode: u32, old: u32, directory: bool) -> u32 {
        let bits = match self.permission {
            Permission::Bits(bits, conditional) => {
                let counts = directory || old & 0o111 != 0;
                bits | if counts { conditional } else { 0 }
            }
            Permission::Copy(shift) => ((mode >> shift) & 0o7) * 0o111,
        } & self.mask;
        match self.operator {
            '+' => mode | bits,
            '-' => mode & !bits,
            _ => (mode & !self.mask) | bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_change_what_is_there() {
        // Each value is the result of coreutils' chmod, for a file.
        for (text, old, want) in [
            ("0755", 0o600, 0o755),
            ("4755", 0o600, 0o4755),
            ("u+x", 0o644, 0o744),
            ("+x", 0o644, 0o755),
            ("a-w", 0o666, 0o444),
            ("go-rwx", 0o755, 0o700),
            ("u=rwX,go=rX", 0o644, 0o644),
            ("u=rwX,go=rX", 0o700, 0o755),
            ("g=u", 0o640, 0o660),
            ("o=", 0o777, 0o770),
            ("u+s,g-s", 0o2755, 0o4755),
            ("+t", 0o755, 0o1755),
            ("u=r+x", 0o777, 0o577),
            ("o+s", 0o755, 0o755),
            ("u=rw,u+x,g=o", 0o604, 0o744),
        ] {
            assert_eq!(
                format!("{:o}", Mode::parse(text).unwrap().apply(old, false)),
                format!("{want:o}"),
                "{text} of {old:o}"
            );
        }
        let mode = Mode::parse("a=rX").unwrap();
        assert_eq!(mode.apply(0o600, true), 0o555, "a directory");
    }

    #[test]
    fn other_texts_are_no_modes() {
        for text in ["", "u", "x", "0888", "77777", "u+q", "u+x,", "+755", "rwx"] {
            assert!(Mode::parse(text).is_err(), "{text}");
        }
    }
}
