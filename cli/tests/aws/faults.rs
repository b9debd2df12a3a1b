//! A bad connection to AWS: nearly a third of all calls are throttled, and every tenth answer is
//! lost after its call took effect.

use std::time::Instant;

use landfall_testkit::scripted::Faults;

use crate::account::{Account, EXAMPLE};
use crate::eye::{look, picture, what_is_there};

#[tokio::test]
async fn needs_emulators_throttling_and_lost_answers_no_duplicates() {
    let spared = Account::new(EXAMPLE).await;
    spared.landfall(&["deploy"]).ended_with(0);
    let whole = picture(&spared).await;
    let unhindered = spared.calls().values().sum::<usize>();

    let account = Account::with(EXAMPLE, Faults::seeded(7).throttle(30).lose_every(10)).await;
    let timed = |args: &[&str]| {
        let start = Instant::now();
        account.landfall(args).ended_with(0);
        let calls = account.calls().values().sum::<usize>();
        let took = start.elapsed().as_secs_f64();
        eprintln!("{}: {calls} calls, {took:.1} s", args[0]);
        calls
    };
    assert!(
        timed(&["deploy"]) > unhindered * 5 / 4,
        "nothing went wrong"
    );
    assert_eq!(picture(&account).await, whole);
    timed(&["destroy", "--yes", "--stack", "digipay"]);
    let left = look(&account).await;
    assert_eq!(what_is_there(&left), [""; 0], "{left:#}");
}
