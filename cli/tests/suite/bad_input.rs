//! Files and projects that cannot be deployed: each gets a clear error and an exit code, and leaves
//! nothing behind.

use crate::support::Project;

/// A file with `top` at the top, `service` in the service's table, and `rest` below.
fn file(top: &str, service: &str, rest: &str) -> String {
    format!("stack = \"shop\"\n{top}\n[service.web]\nport = 8000\n{service}\n{rest}\n")
}

#[track_caller]
fn refused(text: &str, place: &str, parts: &[&str]) {
    let project = Project::new(text);
    for command in ["deploy", "plan"] {
        let ran = project.landfall(&[command]).ended_with(2).saying(parts);
        assert!(
            ran.stderr
                .starts_with(&format!("landfall.toml:{place}: error: ")),
            "{ran:#?}"
        );
        assert_eq!(ran.stdout, "");
    }
    assert!(!project.runtime_dir().exists(), "no cloud was started");
    project.nothing_is_left();
}

#[test]
fn an_unknown_key_points_at_its_line_and_names_the_right_one() {
    refused(
        &file("", "helth = {}", ""),
        "5:1",
        &["helth", "did you mean", "health"],
    );
}

#[test]
fn a_cidr_that_is_none_and_one_that_is_too_small() {
    refused(
        &file("", "", "[network]\ncidr = \"10.0.0.0/33\""),
        "7:9",
        &["10.0.0.0/33"],
    );
    refused(
        &file("", "", "[network]\ncidr = \"10.0.0.0/28\""),
        "7:9",
        &["10.0.0.0/28"],
    );
    refused(
        &file("", "", "[network]\ncidr = \"10.0.0.0/8\""),
        "7:9",
        &["/16"],
    );
}

#[test]
fn ports_that_are_none() {
    for port in ["0", "70000"] {
        let text = format!("stack = \"shop\"\n[service.web]\nport = {port}\n");
        refused(&text, "3:8", &[port, "65535"]);
    }
}

#[test]
fn scales_that_are_out_of_order() {
    refused(
        &file("", "scale = { min = 3, desired = 2, max = 4 }", ""),
        "5:30",
        &["min"],
    );
    refused(
        &file("", "scale = { min = 1, desired = 5, max = 4 }", ""),
        "5:30",
        &["desired"],
    );
}

#[test]
fn zones_that_are_too_few_or_too_many() {
    for zones in ["0", "7"] {
        refused(
            &file("", "", &format!("[network]\nzones = {zones}")),
            "7:9",
            &["zones", "1 to 6", zones],
        );
    }
}

#[test]
fn a_rule_that_refers_to_a_missing_group_names_the_nearest() {
    let rule = "[[network.security-group.web.rule]]\nfrom = \"balancr\"\nports = 8000";
    refused(
        &file("", "", rule),
        "7:9",
        &["`balancr`", "did you mean `balancer`?"],
    );
    let group = "[network.security-group.wep]\nderive = false";
    refused(
        &file("", "", group),
        "6:25",
        &["`wep`", "did you mean `web`?"],
    );
}

#[test]
fn a_bastion_for_addresses_that_nobody_comes_from() {
    for (network, net, why) in [
        ("", "192.168.1.10/32", "private"),
        ("", "10.8.0.0/16", "private"),
        ("", "10.0.1.0/24", "private"),
        (
            "cidr = \"198.51.0.0/16\"",
            "198.51.100.7/32",
            "in the VPC, 198.51.0.0/16",
        ),
    ] {
        let bastion = format!(
            "[network]\n{network}\n[network.bastion]\nallow = [\n  \"203.0.113.7/32\",\n  \"{net}\",\n]"
        );
        refused(
            &file("", "", &bastion),
            "11:4",
            &[
                &format!("`{net}`"),
                why,
                "the public addresses that you log in from",
            ],
        );
    }
}

#[test]
fn an_expectation_of_somebody_who_is_not_there() {
    let expect = "[[network.expect]]\nfrom = \"internet\"\nto = \"wbe\"\nport = 8000";
    refused(
        &file("", "", expect),
        "8:7",
        &["`wbe`", "did you mean `web`?"],
    );
    let expect = "[[network.expect]]\nfrom = \"1.2.3\"\nto = \"web\"\nport = 8000";
    refused(&file("", "", expect), "7:9", &["`1.2.3`", "IPv4"]);
}

#[test]
fn false_expectation_is_refused_first() {
    let expect = "[[network.expect]]\nfrom = \"web\"\nto = \"internet\"\nport = 25";
    let project = Project::new(&file("", "", expect));
    for command in ["plan", "deploy"] {
        project.landfall(&[command]).ended_with(2).saying(&[
            "web/1 has to reach internet on port 25",
            "ENI_SG_RULES_MISMATCH",
            "[[network.security-group.web.rule]]",
            "nothing was changed",
        ]);
    }
    assert!(!project.runtime_dir().exists(), "no cloud was started");
}

#[test]
fn forbidden_connection_names_the_rule_that_allows_it() {
    let expect =
        "[[network.expect]]\nfrom = \"203.0.113.9\"\nto = \"lb\"\nport = 80\nreachable = false";
    let project = Project::new(&file("", "", expect));
    project.landfall(&["deploy"]).ended_with(2).saying(&[
        "1 connection would be allowed, against the expectations",
        "203.0.113.9 must not reach balancer on port 80",
        "allowed by network-acl/public ingress entry 100",
        "allowed by security-group/balancer",
    ]);
}

/// A wrong type is the only fault: there is no second message about the same key.
#[track_caller]
fn only_fault(text: &str, message: &str, hint: &str) {
    let ran = Project::new(text).landfall(&["plan"]).ended_with(2);
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert!(lines[0].ends_with(message), "{ran:#?}");
    assert_eq!(lines[3], format!("hint: {hint}"), "{ran:#?}");
    assert_eq!(lines[4], "1 error in landfall.toml; nothing was changed");
}

#[test]
fn a_wrong_type_is_one_fault() {
    let text = "stack = \"shop\"\n[service.web]\nport = 8000\nroute = 5\n[service.api]\nport = 1\n";
    only_fault(
        text,
        "error: `route` is a number here, not text in quotes",
        "write \"5\" in quotes",
    );
    only_fault(
        &file("", "scale = 3", ""),
        "error: `scale` is a number here, not a table",
        "write scale = { desired = 3 }",
    );
    only_fault(
        &file("", "image = \"nginx:latest\"", ""),
        "error: `image` is text here, not a table",
        "an image is built from a Dockerfile: write the line `FROM nginx:latest` into the file Dockerfile, and leave \
         `image` out",
    );
}

#[test]
fn a_health_path_that_is_an_address() {
    only_fault(
        &file("", "health = { path = \"http://x/up\" }", ""),
        "error: the path `http://x/up` does not start with a slash",
        "write only the path, which the balancer requests from every instance: path = \"/up\"",
    );
}

#[test]
fn several_faults_are_told_at_once() {
    let project = Project::new("stack = \"Shop\"\n[service.web]\nport = 0\n[network]\nzones = 9\n");
    project.landfall(&["deploy"]).ended_with(2).saying(&[
        "landfall.toml:1:",
        "landfall.toml:3:",
        "landfall.toml:5:",
        "3 errors",
    ]);
}

#[track_caller]
fn fails(project: &Project, stage: &str, parts: &[&str]) {
    // A refusal without changes must be fixed in the project.
    let code = if stage == "preflight" { 2 } else { 1 };
    let ran = project.landfall(&["deploy"]).ended_with(code).saying(parts);
    assert_eq!(ran.stdout, "", "{ran:#?}");
    if stage == "preflight" {
        assert!(ran.stderr.contains("nothing was changed"), "{ran:#?}");
        assert!(!ran.stderr.contains("created "), "{ran:#?}");
    }
    let line = project
        .landfall(&["deploy", "--json"])
        .ended_with(code)
        .json();
    assert_eq!(line["result"], "error", "{line:#}");
    assert_eq!(line["stage"], stage, "{line:#}");
    project.nothing_is_left();
    project
        .landfall(&["status"])
        .ended_with(1)
        .saying(&["no stack shop"]);
}

#[test]
fn a_missing_dockerfile_is_named() {
    let project = Project::new(&file("", "", ""));
    std::fs::remove_file(project.directory().join("Dockerfile")).unwrap();
    project.landfall(&["deploy"]).ended_with(2).saying(&[
        "landfall.toml:3:",
        "there is no Dockerfile at",
        "nothing was changed",
    ]);
    project.nothing_is_left();
}

#[test]
fn a_step_that_runs_needs_an_engine_and_its_line_is_named() {
    let project = Project::with_service(&file("", "", ""));
    project.write(
        "Dockerfile",
        "FROM scratch\nCOPY service /service\nRUN echo hello\nENTRYPOINT [\"/service\"]\n",
    );
    fails(
        &project,
        "preflight",
        &[
            "creating image/web",
            "Dockerfile:3",
            "RUN",
            "no container engine answers at unix:///nonexistent/docker.sock",
        ],
    );
}

#[test]
fn a_before_command_that_fails_is_quoted_and_nothing_is_made() {
    let before = "image = { before = \"echo from the build; echo and this >&2; exit 3\" }";
    let project = Project::with_service(&file("", before, ""));
    fails(
        &project,
        "before",
        &["from the build", "and this", "exit code 3", "nothing was"],
    );
}

#[test]
fn an_image_without_an_entrypoint_is_refused() {
    let project = Project::with_service(&file("", "", ""));
    project.write("Dockerfile", "FROM scratch\nCOPY service /service\n");
    fails(
        &project,
        "preflight",
        &["creating image/web", "Dockerfile:1", "ENTRYPOINT"],
    );
}

#[test]
fn exiting_service_is_quoted_before_the_deadline() {
    let service = "env = { MODE = \"exit\" }\nhealth = { deadline = 120 }";
    let project = Project::with_service(&file("", service, ""));
    let started = std::time::Instant::now();
    fails(
        &project,
        "health",
        &[
            "exited with code 7",
            "cannot go on: the test says so",
            "nothing is left",
        ],
    );
    assert!(
        started.elapsed().as_secs() < 100,
        "two deploys within one deadline"
    );
}

#[test]
fn unhealthy_service_ends_by_its_deadline() {
    let service = "env = { MODE = \"sick\" }\nhealth = { deadline = 8, interval = 5, timeout = 2 }";
    let project = Project::with_service(&file("", service, ""));
    fails(
        &project,
        "health",
        &[
            "Target.ResponseCodeMismatch",
            "503",
            "starting in mode sick",
            "nothing is left",
        ],
    );
}

#[test]
fn a_loopback_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let project = Project::with_service(&file("", "", &format!("[local]\nport = {port}")));
    let ran = project.landfall(&["deploy"]).ended_with(1).saying(&[
        &port.to_string(),
        "already in use",
        "[local]",
    ]);
    assert_eq!(ran.stdout, "");
    project.nothing_is_left();
}

#[test]
fn unsupported_local_features_are_refused_first() {
    let balancer =
        "[load-balancer]\ncertificate = \"arn:aws:acm:eu-central-1:123456789012:certificate/0a1b\"";
    let project = Project::with_service(&file("", "", balancer));
    fails(
        &project,
        "preflight",
        &["listener/https", "it serves HTTP only"],
    );
}
