//! Several services behind one balancer, selected by path and by host.

use std::time::Duration;

use crate::support::{Project, get, get_as};

const SOON: Duration = Duration::from_secs(20);

const FILE: &str = "stack = \"routes\"

[service.web]
port = 8000
env = { GREETING = \"web\" }

[service.api]
port = 9000
route = \"/api/*\"
env = { GREETING = \"api\" }

[service.shop]
port = 8000
route = \"shop.example.com\"
scale = { desired = 1 }
env = { GREETING = \"shop\" }
";

/// The service that answered: the last word of its answer.
fn who(answer: std::io::Result<(u16, String)>) -> String {
    let (status, body) = answer.unwrap();
    assert_eq!(status, 200);
    body.split_whitespace().last().unwrap().to_owned()
}

#[test]
fn services_share_a_balancer_and_nothing_else() {
    let project = Project::with_service(FILE);
    let url = project.landfall(&["deploy"]).ended_with(0).stdout;
    let url = url.trim_end();
    for (host, path, service) in [
        ("example.com", "/", "web"),
        ("example.com", "/api", "web"),
        ("example.com", "/api/users", "api"),
        ("shop.example.com", "/", "shop"),
        ("SHOP.example.com:80", "/api/users", "shop"),
    ] {
        assert_eq!(who(get_as(url, host, path, SOON)), service, "{host}{path}");
    }
    let status = project.landfall(&["status"]).ended_with(0).stdout;
    for part in [
        "/api/*",
        "shop.example.com",
        "target group api",
        "target group shop",
        "target group web",
    ] {
        assert!(status.contains(part), "{part} is missing in:\n{status}");
    }

    // A change of one service does not affect the others.
    project.write("landfall.toml", &FILE.replace("\"api\"", "\"api2\""));
    let plan = project.landfall(&["plan"]).ended_with(0).stdout;
    assert!(
        plan.contains("launch-template/api") && plan.contains("Plan: 1 to change, "),
        "{plan}"
    );
    project.landfall(&["deploy"]).ended_with(0);
    assert_eq!(who(get(url, "/api/users")), "api2");
    assert_eq!(who(get(url, "/")), "web");

    // One service less: its instances would be lost, and its requests go to the service without a
    // route.
    let less = FILE.replace("\"api\"", "\"api2\"");
    let (less, _) = less.split_once("[service.shop]").unwrap();
    project.write("landfall.toml", less);
    project
        .landfall(&["deploy"])
        .ended_with(2)
        .saying(&["autoscaling-group/shop", "its instances"]);
    project.landfall(&["deploy", "--yes"]).ended_with(0);
    assert_eq!(who(get_as(url, "shop.example.com", "/", SOON)), "web");
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}
