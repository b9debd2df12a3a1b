//! Asks for a confirmation on the terminal, before an irreversible change.

use std::io::{self, IsTerminal};

use landfall_pipeline::{Confirmation, Question};
use tokio::sync::oneshot;

use crate::output;
use crate::render::{self, STRONG, paint};

/// The source of the confirmation: the command line, the terminal, or none.
pub(super) fn confirmation(yes: bool, json: bool) -> Confirmation {
    if yes {
        Confirmation::Given
    } else if can_ask(json) {
        Confirmation::asking(|question| async move {
            output::message(&text(&question));
            answer().await
        })
    } else {
        Confirmation::Missing
    }
}

/// Whether a user can read the question and answer it.
pub(super) fn can_ask(json: bool) -> bool {
    !json && io::stdin().is_terminal() && io::stderr().is_terminal()
}

fn text(question: &Question) -> String {
    let review = &question.review;
    let plan = render::plan::render(review);
    let ask = match question.doing {
        "destroy" => format!("Destroy {} for good?", paint(STRONG, &review.stack)),
        _ => "Continue, and lose this for good?".to_owned(),
    };
    format!("{plan}\n{ask} [y/N] ")
}

/// The answer: confirmed only by a yes, refused by any other or no input.
///
/// A separate thread reads the line: even if it waits for ever, the program can exit.
pub(super) async fn answer() -> bool {
    let (tell, reported) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line);
        // The caller may have been interrupted in the meantime.
        let _ = tell.send(read.is_ok() && is_yes(&line));
    });
    reported.await.unwrap_or(false)
}

fn is_yes(line: &str) -> bool {
    matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        for yes in ["y\n", "Y\n", " yes \n", "YES"] {
            assert!(is_yes(yes), "{yes:?}");
        }
        for no in ["", "\n", "n\n", "no\n", "yess\n", "sure\n"] {
            assert!(!is_yes(no), "{no:?}");
        }
    }

    #[test]
    fn a_yes_on_the_command_line_is_enough() {
        assert!(matches!(confirmation(true, true), Confirmation::Given));
        assert!(matches!(confirmation(false, true), Confirmation::Missing));
    }
}
