//! Each kind separately on the emulator, through the provider's operations.

use landfall_lb::{
    Action, Condition, HealthCheck, Listener, ListenerRule, LoadBalancer, TargetGroup,
};
use landfall_provider::{Input, Key, Port, Provider, Resource, Result};
use landfall_testkit::scripted::Faults;

use crate::bed::{Bed, listed, stack};

fn balancer(bed: &Bed) -> LoadBalancer {
    LoadBalancer {
        vpc: bed.vpc.clone(),
        subnets: bed.subnets[..2].to_vec(),
        groups: bed.groups[..1].to_vec(),
        idle_timeout: 60,
        protected: false,
    }
}

fn target_group(bed: &Bed) -> TargetGroup {
    TargetGroup {
        vpc: bed.vpc.clone(),
        port: Port::new(8000).unwrap(),
        health_check: HealthCheck {
            path: "/healthz".to_owned(),
            interval: 10,
            timeout: 5,
            healthy_threshold: 3,
            unhealthy_threshold: 2,
            matcher: "200-299".to_owned(),
        },
        deregistration_delay: 30,
    }
}

/// A valid listener: on a balancer, forwarding to a group.
async fn listener(bed: &Bed) -> Listener {
    let group = bed.made("front", &target_group(bed)).await;
    Listener {
        balancer: bed.made("front", &balancer(bed)).await,
        port: Port::new(80).unwrap(),
        certificate: None,
        action: Action::Forward(group),
    }
}

#[tokio::test]
async fn needs_moto_a_balancer_is_made_changed_and_ended() {
    let bed = Bed::new().await;
    let desired = balancer(&bed);
    let wider = LoadBalancer {
        subnets: bed.subnets.clone(),
        groups: bed.groups.clone(),
        idle_timeout: 120,
        ..desired.clone()
    };
    bed.live_through(desired, wider).await;
    let calls = bed.endpoint.calls();
    let set = calls
        .iter()
        .find(|call| call.action == "ModifyLoadBalancerAttributes");
    let set: Vec<_> = (1..=4)
        .map(|n| {
            let field = |part| set.unwrap().field(&format!("Attributes.member.{n}.{part}"));
            (field("Key"), field("Value"))
        })
        .collect();
    assert_eq!(
        set,
        [
            ("idle_timeout.timeout_seconds", "60"),
            ("deletion_protection.enabled", "false"),
            ("routing.http.drop_invalid_header_fields.enabled", "true"),
            ("routing.http.desync_mitigation_mode", "defensive"),
        ]
    );
}

#[tokio::test]
async fn needs_moto_a_target_group_is_made_changed_and_ended() {
    let bed = Bed::new().await;
    let desired = target_group(&bed);
    let slower = TargetGroup {
        health_check: HealthCheck {
            path: "/ready".to_owned(),
            interval: 30,
            ..desired.health_check.clone()
        },
        deregistration_delay: 300,
        ..desired.clone()
    };
    bed.live_through(desired, slower).await;
}

#[tokio::test]
async fn needs_moto_a_listener_is_made_changed_and_ended() {
    let bed = Bed::new().await;
    let http = listener(&bed).await;
    let elsewhere = Listener {
        port: Port::new(8080).unwrap(),
        action: Action::RedirectToHttps(Port::new(443).unwrap()),
        ..http.clone()
    };
    bed.live_through(http, elsewhere).await;
}

#[tokio::test]
async fn needs_moto_a_rule_is_made_changed_and_ended() {
    let bed = Bed::new().await;
    let http = listener(&bed).await;
    let path = ListenerRule {
        target_group: http.action.target_group().unwrap().clone(),
        listener: bed.made("front", &http).await,
        priority: 10,
        condition: Condition::Path("/api/*".to_owned()),
    };
    let other = TargetGroup {
        port: Port::new(9000).unwrap(),
        ..target_group(&bed)
    };
    let host = ListenerRule {
        priority: 20,
        condition: Condition::Host("api.example.com".to_owned()),
        target_group: bed.made("other", &other).await,
        ..path.clone()
    };
    bed.live_through(path, host).await;
}

#[tokio::test]
async fn needs_moto_all_kinds_of_a_stack_are_listed_in_one_survey() {
    let bed = Bed::new().await;
    let http = listener(&bed).await;
    bed.made("front", &http).await;
    bed.calls();
    let (balancers, groups, listeners, rules) = futures::join!(
        listed::<LoadBalancer>(&bed.aws),
        listed::<TargetGroup>(&bed.aws),
        listed::<Listener>(&bed.aws),
        listed::<ListenerRule>(&bed.aws),
    );
    let numbers = [balancers.len(), groups.len(), listeners.len(), rules.len()];
    assert_eq!(numbers, [1, 1, 1, 0]);
    let calls = bed.calls();
    // Two listings, listeners, rules, tags, and the attributes of a balancer and a group.
    assert_eq!(calls.len(), 7, "{calls:#?}");
}

#[tokio::test]
async fn needs_moto_new_port_makes_a_second_target_group() {
    let bed = Bed::new().await;
    let old = bed.made("one", &target_group(&bed)).await;
    let desired = TargetGroup {
        port: Port::new(9000).unwrap(),
        ..target_group(&bed)
    };
    assert_ne!(bed.made("one", &desired).await, old);
    assert_eq!(listed::<TargetGroup>(&bed.aws).await.len(), 2);
}

/// Retries until it succeeds, as the engine does after transient errors.
async fn persist<T>(mut attempt: impl AsyncFnMut() -> Result<T>) -> T {
    for _ in 0..30 {
        if let Ok(done) = attempt().await {
            return done;
        }
    }
    panic!("it never works");
}

#[tokio::test]
async fn needs_moto_lost_answers_and_throttling_make_no_second_one() {
    let bed = Bed::with(Faults::seeded(11).throttle(30).lose_every(5)).await;
    let key = |kind| Key::new(kind, "one".parse().unwrap());
    let create = |wanted: LoadBalancer| {
        let (bed, key) = (&bed, key(LoadBalancer::KIND));
        async move { bed.aws.create(&stack(), &key, &wanted).await }
    };
    let balancer = persist(async || create(balancer(&bed)).await).await;
    let group = persist(async || {
        bed.aws
            .create(&stack(), &key(TargetGroup::KIND), &target_group(&bed))
            .await
    })
    .await;
    let desired = Listener {
        balancer: Input::Known(balancer),
        port: Port::new(80).unwrap(),
        certificate: None,
        action: Action::Forward(Input::Known(group)),
    };
    persist(async || {
        bed.aws
            .create(&stack(), &key(Listener::KIND), &desired)
            .await
    })
    .await;
    let balancers =
        persist(async || Provider::<LoadBalancer>::list(&bed.aws, &stack()).await).await;
    let groups = persist(async || Provider::<TargetGroup>::list(&bed.aws, &stack()).await).await;
    let listeners = persist(async || Provider::<Listener>::list(&bed.aws, &stack()).await).await;
    assert_eq!([balancers.len(), groups.len(), listeners.len()], [1, 1, 1]);
}
