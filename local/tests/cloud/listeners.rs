//! Listeners, rules and target groups, drawn: what the trace says of each port of a balancer is what its nodes do
//! and what clients hear. The networks of `src/daemon/differential` have no proxy, and this one has nothing else
//! that varies.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use fastrand::Rng;
use landfall_lb::{Action, Condition, Listener, ListenerRule, TargetGroup};
use landfall_local::{Reached, Vantage};
use landfall_network::reach::{Code, Reach, Verdict};
use landfall_provider::{Input, Port, ResourceName, Stack};
use landfall_testkit::http;

use crate::balancers::said;
use crate::bed::{Bed, Shape, WAIT_TIMEOUT};

/// How many sets of listeners are drawn, always the same ones.
const ROUNDS: u64 = 32;

/// How many flows have to be stopped for each of the reasons that are about listeners.
const EACH: usize = 20;

/// The ports that groups and ACLs let in beside 80.
const OPEN: &[u16] = &[81, 82, 83, 84, 85];

/// One that they do not.
const CLOSED: u16 = 86;

/// Enough for an answer in the same kernel; nobody answers where it is over.
const MOMENT: Duration = Duration::from_millis(300);

/// The paths that clients ask for: a rule may take the second one.
const PATHS: [&str; 2] = ["/whoami", "/peer"];

/// A listener as it is drawn: its port, whether those behind it have targets, and the same of its rule, if it has one.
struct Drawn {
    port: u16,
    is_served: bool,
    rule: Option<bool>,
}

impl Drawn {
    /// Whether somebody serves each of the paths.
    fn serves(&self) -> [bool; 2] {
        [self.is_served, self.rule.unwrap_or(self.is_served)]
    }
}

fn draw(rng: &mut Rng) -> Vec<Drawn> {
    let mut ports: Vec<u16> = OPEN.iter().copied().chain([80]).collect();
    rng.shuffle(&mut ports);
    ports.truncate([1, 1, 2, 3][rng.usize(0..4)]);
    let mut drawn: Vec<Drawn> = ports
        .into_iter()
        .map(|port| Drawn {
            port,
            is_served: rng.bool(),
            rule: rng.bool().then(|| rng.bool()),
        })
        .collect();
    // Targets that no listener leads to are not checked, and it would take ten seconds each time until they are
    // healthy again.
    if !drawn.iter().any(|one| one.serves().contains(&true)) {
        drawn[0].rule = Some(true);
    }
    drawn
}

/// The stack with these listeners.
fn with(drawn: &[Drawn], base: &Stack) -> Stack {
    let mut stack = base.clone();
    let name = |text: &str| -> ResourceName { text.parse().unwrap() };
    let first: Listener = stack.get(&name("http")).unwrap().unwrap();
    let served = first.action.target_group().unwrap().clone();
    let web: TargetGroup = stack.get(&name("web")).unwrap().unwrap();
    let nobody = stack.add("nobody", web).id();
    let group = |is_served| match is_served {
        true => served.clone(),
        false => nobody.clone(),
    };
    for (index, one) in drawn.iter().enumerate() {
        let listener = Listener {
            port: Port::new(one.port).unwrap(),
            action: Action::Forward(group(one.is_served)),
            ..first.clone()
        };
        let id = match index {
            0 => {
                let changed = stack.amend(&name("http"), |first: &mut Listener| *first = listener);
                assert!(changed.unwrap());
                Input::Of("listener/http".parse().unwrap(), PhantomData)
            }
            _ => stack.add(&format!("l{}", one.port), listener).id(),
        };
        if let Some(is_served) = one.rule {
            let rule = ListenerRule {
                listener: id,
                priority: 10,
                condition: Condition::Path(PATHS[1].to_owned()),
                target_group: group(is_served),
            };
            stack.add(&format!("r{}", one.port), rule);
        }
    }
    stack
}

/// The public addresses of the balancer's two nodes.
async fn nodes(bed: &Bed) -> Vec<Ipv4Addr> {
    let mut nodes = Vec::new();
    // The first public addresses: two gateways and two nodes have them, in any order.
    for last in 10..14 {
        let address = Ipv4Addr::new(203, 0, 113, last);
        let asked = bed.local.reach(Vantage::Internet, address, 80, MOMENT);
        if asked.await.unwrap() == Reached::Open {
            nodes.push(address);
        }
    }
    assert_eq!(nodes.len(), 2, "the nodes");
    nodes
}

/// The statuses that clients of a listener get for each path.
async fn statuses(bed: &Bed, stack: &Stack, one: &Drawn, is_first: bool) -> [u16; 2] {
    let key = match is_first {
        true => "listener/http".to_owned(),
        false => format!("listener/l{}", one.port),
    };
    let url = bed.output(stack.name().as_str(), &key).await["url"].clone();
    let url = url.as_str().unwrap();
    PATHS.map(|path| http::get(url, path).unwrap().status)
}

/// What packets have to do by a verdict: what nodes do when they are asked for a connection, and for which paths a
/// client finds somebody.
fn expected(verdict: &Verdict, one: Option<&Drawn>) -> (Reached, Option<[bool; 2]>) {
    let code = verdict.block.as_ref().map(|block| block.code);
    let serves = one.map(Drawn::serves);
    match code {
        None => {
            assert_eq!(verdict.reach, Reach::All);
            (Reached::Open, Some([true; 2]))
        }
        Some(Code::Elbv2ListenerHasNoTg) => {
            let serves = serves.unwrap();
            let some = match serves.contains(&true) {
                true => Reach::Part,
                false => Reach::Nothing,
            };
            assert_eq!(verdict.reach, some, "{verdict:?}");
            (Reached::Open, Some(serves))
        }
        Some(Code::Elbv2ListenerPortRestriction | Code::Elbv2ListenersMismatch) => {
            assert_eq!(verdict.reach, Reach::Nothing);
            (Reached::Refused, None)
        }
        Some(_) => {
            assert_eq!(verdict.reach, Reach::Nothing);
            (Reached::Silent(String::new()), None)
        }
    }
}

#[tokio::test]
async fn drawn_listeners_do_what_the_trace_says() {
    let bed = Bed::new();
    let shape = Shape {
        open: OPEN,
        ..Shape::named("drawn")
    };
    bed.deploy(&shape).await;
    let nodes = nodes(&bed).await;
    let base = bed.stack(&shape);
    let mut rng = Rng::with_seed(1);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let began = Instant::now();
    for round in 0..ROUNDS {
        let drawn = draw(&mut rng);
        let stack = with(&drawn, &base);
        let applied = bed.apply(&stack).await;
        assert!(applied.is_complete(), "{applied:#?}");
        let closed = (round % 4 == 0).then_some(CLOSED);
        for port in OPEN.iter().copied().chain([80]).chain(closed) {
            let verdict = said(&stack, port);
            let place = drawn.iter().position(|one| one.port == port);
            let one = place.map(|place| &drawn[place]);
            let (at_nodes, heard) = expected(&verdict, one);
            let code = verdict.block.as_ref().map(|block| block.code.to_string());
            let what = format!("round {round}, port {port}, {code:?}");
            for node in &nodes {
                let asked = bed.local.reach(Vantage::Internet, *node, port, MOMENT);
                let reached = match asked.await.unwrap() {
                    Reached::Silent(_) => Reached::Silent(String::new()),
                    other => other,
                };
                assert_eq!(reached, at_nodes, "{what}");
            }
            if let (Some(one), Some(serves)) = (one, heard) {
                let wanted = serves.map(|is_served| if is_served { 200 } else { 503 });
                let deadline = Instant::now() + WAIT_TIMEOUT;
                loop {
                    let seen = statuses(&bed, &stack, one, place == Some(0)).await;
                    if seen == wanted {
                        break;
                    }
                    assert!(
                        Instant::now() < deadline,
                        "{what}: {seen:?}, not {wanted:?}"
                    );
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            *counts
                .entry(code.unwrap_or("reachable".to_owned()))
                .or_default() += 1;
        }
    }
    eprintln!(
        "{ROUNDS} sets of listeners in {:.1?}: {counts:#?}",
        began.elapsed()
    );
    for code in [
        Code::Elbv2ListenersMismatch,
        Code::Elbv2ListenerPortRestriction,
        Code::Elbv2ListenerHasNoTg,
    ] {
        let count = counts.get(code.as_str()).copied().unwrap_or_default();
        assert!(count >= EACH, "{count} flows stopped by {code}");
    }
    bed.destroy("drawn").await;
}
