//! Mutated files: every one is read, or refused with errors that can be printed, and what is read makes a stack.

use landfall_testkit::fuzz::Fuzz;

use super::Config;
use crate::validate::ValidatedStack;

#[test]
fn files() {
    let fuzz = Fuzz {
        name: "landfall.toml",
        seeds: &[
            include_bytes!("every-key.toml"),
            include_bytes!("single.toml"),
            b"stack = 'digipay'\n[service.web]\nport = 8000\n[env.staging.service.web]\nscale = 2\n",
        ],
        words: &[
            "[service.web]\n", "[[network.security-group.balancer.rule]]\n", "port = ", "scale = ", "0", "65536", "-1", "nan", "1e400",
            "0x7fffffffffffffff", "1979-05-27T07:32:00Z", "\"", "'''", "\"\"\"", "\\u0000", "\\U0010FFFF", "é", "\u{202e}", "[", "]", "{", "}", "=",
            ".", ",", "#", "\r", "\n", "10.0.0.0/8", "0.0.0.0/0", "::/0", "ssm:/", "/*", "true", "9999999999 GiB", "1h", "../", "a.b.c.d = 1\n",
        ],
        inputs: 600,
    };
    fuzz.run(|input| {
        let text = String::from_utf8_lossy(input);
        for environment in [None, Some("staging")] {
            match Config::parse_for(&text, "landfall.toml", environment) {
                Ok(config) => {
                    if let Err(error) = ValidatedStack::new(&config) {
                        assert!(!error.to_string().is_empty());
                    }
                }
                Err(errors) => assert!(!errors.to_string().is_empty()),
            }
        }
    });
}
