//! Shell commands on an AWS instance for access to its container.
//!
//! The container is called `landfall`, and the engine is Docker or Podman: `landfall_compute::boot`
//! starts it that way. On Amazon Linux, the login user may become root.

use std::time::Duration;

/// Finds the engine, as the boot script does.
const ENGINE: &str = "engine=$(command -v docker || command -v podman) && exec sudo \"$engine\"";

/// Runs a command in the container.
pub(crate) fn exec(command: &[String], has_terminal: bool) -> String {
    let streams = if has_terminal { "-it" } else { "-i" };
    let words: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    format!("{ENGINE} exec {streams} landfall {}", words.join(" "))
}

/// Shows the container's output; its standard error is also printed on standard output.
pub(crate) fn logs(follow: bool, since: Option<Duration>, timestamps: bool) -> String {
    let mut line = format!("{ENGINE} logs");
    if follow {
        line.push_str(" --follow");
    }
    if let Some(since) = since {
        line.push_str(&format!(" --since {}s", since.as_secs().max(1)));
    }
    if timestamps {
        line.push_str(" --timestamps");
    }
    format!("{line} landfall 2>&1")
}

/// Any text as one word for the shell: inside single quotes only the quote itself is special.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &[&str]) -> Vec<String> {
        command.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn a_command_arrives_word_by_word() {
        assert_eq!(
            exec(&words(&["echo", "it's $HOME", ""]), false),
            r#"engine=$(command -v docker || command -v podman) && exec sudo "$engine" exec -i landfall 'echo' 'it'\''s $HOME' ''"#
        );
        assert!(exec(&words(&["sh"]), true).contains(" exec -it landfall "));
    }

    #[test]
    fn logs_are_the_containers_from_then_on() {
        assert!(logs(false, None, false).ends_with(r#""$engine" logs landfall 2>&1"#));
        assert!(
            logs(true, Some(Duration::from_secs(600)), true)
                .ends_with(" logs --follow --since 600s --timestamps landfall 2>&1")
        );
    }
}
