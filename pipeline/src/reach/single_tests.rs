//! One instance that clients ask themselves: what has to hold, and what is said when it would not.

use super::tests::reported;

const SINGLE: &str = "mode = 'single'\n[service.web]\nport = 8000\n";

#[test]
fn only_the_port_is_reachable_by_allowed_callers() {
    for text in [
        "",
        "[single]\nallow = ['203.0.113.0/24', '198.51.100.7/32']\n",
        "[[network.expect]]\nfrom = 'internet'\nto = 'web'\nport = 22\nreachable = false\n",
        "[[network.expect]]\nfrom = 'web'\nto = 'internet'\nport = 443\n",
    ] {
        assert_eq!(reported(&format!("{SINGLE}{text}")), "", "{text}");
    }
}

#[test]
fn what_stops_clients_or_opens_too_much_is_told() {
    let mut out = String::new();
    for text in [
        "[network.security-group.web]\nderive = false\n",
        "[[network.acl.public.entry]]\nnumber = 50\naction = 'deny'\nfrom = '203.0.113.0/24'\nports = 8000\n",
        "[network.route-table.public]\nderive = false\n",
        "[[network.security-group.web.rule]]\nfrom = '0.0.0.0/0'\nports = 1443\n",
        "[single]\nallow = ['203.0.113.0/24']\n[[network.security-group.web.rule]]\nfrom = '0.0.0.0/0'\nports = 8000\n",
    ] {
        out.push_str(&format!(
            "== {text}\n{}\n",
            reported(&format!("{SINGLE}{text}"))
        ));
    }
    insta::assert_snapshot!(out);
}
