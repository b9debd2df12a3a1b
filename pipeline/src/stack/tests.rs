//! The stacks of whole files, and what refuses to become one.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use landfall_provider::Key;

use super::*;
use crate::validate::stack;

fn sources() -> Sources {
    let hash = "0123456789abcdef".repeat(4);
    ["web", "api"]
        .map(|service| (name(service), hash.parse().unwrap()))
        .into()
}

/// A stack as one line per resource.
fn text(stack: &Stack) -> String {
    let mut out = String::new();
    for (key, desired) in stack.resources() {
        writeln!(out, "{key}  {}", desired.spec).unwrap();
    }
    out
}

#[test]
fn the_repositorys_own_file() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../landfall.toml");
    let mut config = Config::load(Path::new(path)).unwrap();
    // Where the checkout is and what it is built on is not the stack's.
    config.directory = PathBuf::from("/checkout");
    config.file = Some(PathBuf::from("/checkout/landfall.toml"));
    let web = config.service.get_mut(&name("web")).unwrap();
    web.image.platform = Some("linux/amd64".parse().unwrap());
    insta::assert_snapshot!(text(&stack(&config, &sources()).unwrap()));
}

#[test]
fn a_file_that_says_everything() {
    let source = include_str!("../config/every-key.toml");
    let config = Config::parse(source, "/checkout/landfall.toml").unwrap();
    insta::assert_snapshot!(text(&stack(&config, &sources()).unwrap()));
}

#[test]
fn one_instance_and_what_it_stands_in() {
    let source = include_str!("../config/single.toml");
    let mut config = Config::parse(source, "/checkout/landfall.toml").unwrap();
    let web = config.service.get_mut(&name("web")).unwrap();
    web.image.platform = Some("linux/amd64".parse().unwrap());
    insta::assert_snapshot!(text(&stack(&config, &sources()).unwrap()));
}

#[test]
fn every_reference_is_to_something_in_the_stack() {
    for source in [
        include_str!("../config/every-key.toml"),
        include_str!("../config/single.toml"),
        include_str!("../../../landfall.toml"),
    ] {
        let config = Config::parse(source, "landfall.toml").unwrap();
        let stack = stack(&config, &sources()).unwrap();
        for (key, desired) in stack.resources() {
            let there = |need: &Key| stack.resources().contains_key(need);
            assert!(
                desired.needs.iter().all(there),
                "{key}: {:?}",
                desired.needs
            );
        }
    }
}

#[test]
fn what_the_file_may_not_say_cannot_be_said_in_rust_either() {
    let mut config = Config::new(
        "digipay".parse().unwrap(),
        name("web"),
        Service::new(landfall_provider::Port::new(8000).unwrap()),
    );
    config.network.zones = 1.into();
    config.service.get_mut(&name("web")).unwrap().scale.max = 1;
    let error = stack(&config, &sources()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "service.web.scale.desired: min (1), desired (2) and max (1) must be in ascending order\n  \
         hint: the defaults are min = 1, desired = 2, max = 4\n\
         network.zones: a load balancer needs two zones at least\n  \
         hint: zones = 2, or leave the key out; mode = \"single\" does without a load balancer"
    );
}

#[test]
fn a_service_without_a_source_is_named() {
    let config = Config::parse("stack='a'\n[service.web]\nport=1", "landfall.toml").unwrap();
    let error = stack(&config, &Sources::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the identity of image/web is not among the sources"
    );
}
